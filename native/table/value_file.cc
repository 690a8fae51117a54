// Reading and writing value files. See the header.
#include "table/value_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "io/file_names.h"
#include "table/run_file.h"

namespace gapless::table {
namespace {

constexpr size_t kWriteBytes = 256 * 1024;

// Of the stored bytes, bound to where they stand.
uint32_t ValueCrc(uint32_t seed, uint64_t position, Slice stored) {
  char head[12];
  StoreU64(head, position);
  StoreU32(head + 8, static_cast<uint32_t>(stored.size()));
  return Crc32c(Crc32c(seed, head, sizeof(head)), stored.data(), stored.size());
}

std::string PathOf(const RunOptions& options, uint64_t number) {
  return io::JoinPath(options.directory, io::ValuesName(number));
}

}  // namespace

ValueFile::ValueFile(const RunOptions& options, std::unique_ptr<io::File> file, uint64_t number,
                     uint64_t file_bytes)
    : cluster_(options.cluster), file_(std::move(file)), number_(number), file_bytes_(file_bytes) {}

Status ValueFile::Corrupt(const char* what, const std::string& text, uint64_t offset) const {
  return Status::Corrupt("value file: " + text, path(), offset).With("what", what);
}

Status ValueFile::ReadAt(uint64_t offset, char* to, size_t size) const {
  size_t got = 0;
  RETURN_IF_ERROR(file_->ReadAt(offset, to, size, &got));
  return got == size ? Status::Ok() : Corrupt("short", "the file ends early", offset + got);
}

Status ValueFile::CheckHeader(uint32_t shard) const {
  char header[kValuesHeaderBytes];
  RETURN_IF_ERROR(ReadAt(0, header, sizeof(header)));
  if (std::memcmp(header, kValuesMagic, kValuesMagicBytes) != 0) {
    return Corrupt("magic", "this is no value file", 0);
  }
  if (LoadU32(header + kValuesHeaderCrc) != Crc32c(0, header, kValuesHeaderCrc)) {
    return Corrupt("header_crc", "the header fails its checksum", 0);
  }
  const Slice reserved(header + kValuesHeaderReserved, kValuesHeaderCrc - kValuesHeaderReserved);
  if (LoadU32(header + kValuesHeaderVersion) != kValuesVersion ||
      reserved.View().find_first_not_of('\0') != std::string_view::npos) {
    return RunUnsupported("a value file is of an unknown version", path(), kValuesHeaderVersion);
  }
  if (std::memcmp(header + kValuesHeaderClusterId, cluster_.data(), cluster_.size()) != 0) {
    return Corrupt("format", "the file belongs to another cluster", kValuesHeaderClusterId);
  }
  if (LoadU64(header + kValuesHeaderNumber) != number_) {
    return Corrupt("format", "the file is another one", kValuesHeaderNumber);
  }
  if (LoadU32(header + kValuesHeaderShard) != shard) {
    return Corrupt("format", "the file is of another shard", kValuesHeaderShard);
  }
  return Status::Ok();
}

Result<std::shared_ptr<const ValueFile>> ValueFile::Open(const RunOptions& options,
                                                         const ValueUse& use, uint32_t shard) {
  const std::string path = PathOf(options, use.file);
  Result<std::unique_ptr<io::File>> file = options.fs->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = file.value()->Size();
  if (!size.ok()) return size.status();
  auto opened =
      std::make_shared<ValueFile>(options, std::move(file.value()), use.file, use.file_bytes);
  if (size.value() != use.file_bytes || size.value() < kValuesHeaderBytes) {
    return opened->Corrupt("short", "the file has another length than its manifest says",
                           std::min(size.value(), use.file_bytes));
  }
  RETURN_IF_ERROR(opened->CheckHeader(shard));
  return std::shared_ptr<const ValueFile>(std::move(opened));
}

Status ValueFile::Read(const ValueRef& ref, char* to) const {
  const uint32_t seed = BlockCrcSeed(cluster_, number_);
  if (ref.stored_bytes == ref.raw_bytes) {
    RETURN_IF_ERROR(ReadAt(ref.position, to, ref.stored_bytes));
    if (ValueCrc(seed, ref.position, Slice(to, ref.stored_bytes)) == ref.crc) return Status::Ok();
    return Corrupt("body_crc", "a value fails its checksum", ref.position);
  }
  const std::unique_ptr<char[]> packed(new char[ref.stored_bytes]);
  RETURN_IF_ERROR(ReadAt(ref.position, packed.get(), ref.stored_bytes));
  const Slice stored(packed.get(), ref.stored_bytes);
  if (ValueCrc(seed, ref.position, stored) != ref.crc) {
    return Corrupt("body_crc", "a value fails its checksum", ref.position);
  }
  if (Lz4Decompress(stored, to, ref.raw_bytes)) return Status::Ok();
  return Corrupt("format", "a value cannot be decompressed", ref.position);
}

Result<std::shared_ptr<const ValueFile>> ValueFiles::Open(const RunOptions& options,
                                                          const ValueUse& use, uint32_t shard) {
  {
    const MutexLock lock(&mutex_);
    const auto at = open_.find(use.file);
    std::shared_ptr<const ValueFile> present = at == open_.end() ? nullptr : at->second.lock();
    if (present != nullptr && present->file_bytes() == use.file_bytes) return present;
  }
  Result<std::shared_ptr<const ValueFile>> opened = ValueFile::Open(options, use, shard);
  if (!opened.ok()) return opened;
  const MutexLock lock(&mutex_);
  std::erase_if(open_, [](const auto& item) { return item.second.expired(); });
  open_[use.file] = opened.value();
  return opened;
}

ValueFileWriter::ValueFileWriter(const RunOptions& options, std::unique_ptr<io::File> file,
                                 uint64_t number, uint32_t shard)
    : options_(options),
      file_(std::move(file)),
      number_(number),
      crc_seed_(BlockCrcSeed(options.cluster, number)) {
  char header[kValuesHeaderBytes] = {};
  std::memcpy(header, kValuesMagic, kValuesMagicBytes);
  StoreU32(header + kValuesHeaderVersion, kValuesVersion);
  StoreU32(header + kValuesHeaderShard, shard);
  StoreU64(header + kValuesHeaderNumber, number);
  std::memcpy(header + kValuesHeaderClusterId, options.cluster.data(), options.cluster.size());
  StoreU32(header + kValuesHeaderCrc, Crc32c(0, header, kValuesHeaderCrc));
  buffer_.assign(header, sizeof(header));
}

ValueFileWriter::~ValueFileWriter() {
  if (finished_) return;
  file_.reset();
  (void)options_.fs->Remove(PathOf(options_, number_));  // a stray, which the next open removes
}

Result<std::unique_ptr<ValueFileWriter>> ValueFileWriter::Create(const RunOptions& options,
                                                                 uint64_t number, uint32_t shard) {
  Result<std::unique_ptr<io::File>> file =
      options.fs->Open(PathOf(options, number), io::OpenMode::kCreateNew);
  if (!file.ok()) return file.status();
  return std::make_unique<ValueFileWriter>(options, std::move(file.value()), number, shard);
}

Status ValueFileWriter::Add(Slice value, ValueRef* ref) {
  GAPLESS_ASSERT(!value.empty() && value.size() <= kRunValueBytesMax);
  Slice stored = value;
  if (options_.compression == Compression::kLz4) {
    packed_.resize(value.size() * 7 / 8);
    const size_t packed = compressor_.Compress(value, packed_.data(), packed_.size());
    if (packed > 0) stored = Slice(packed_.data(), packed);
  }
  ref->file = number_;
  ref->position = bytes();
  ref->stored_bytes = static_cast<uint32_t>(stored.size());
  ref->raw_bytes = static_cast<uint32_t>(value.size());
  ref->crc = ValueCrc(crc_seed_, ref->position, stored);
  if (stored.size() >= kWriteBytes) return FlushBuffer(stored);
  buffer_.append(stored.data(), stored.size());
  return buffer_.size() < kWriteBytes ? Status::Ok() : FlushBuffer(Slice());
}

Status ValueFileWriter::FlushBuffer(Slice behind) {
  const io::IoVec parts[2] = {{buffer_.data(), buffer_.size()}, {behind.data(), behind.size()}};
  RETURN_IF_ERROR(file_->WriteAt(written_, parts, behind.empty() ? 1 : 2));
  written_ += buffer_.size() + behind.size();
  buffer_.clear();
  return Status::Ok();
}

Status ValueFileWriter::Finish() {
  if (!buffer_.empty()) RETURN_IF_ERROR(FlushBuffer(Slice()));
  RETURN_IF_ERROR(file_->SyncData());
  finished_ = true;
  return Status::Ok();
}

void RemoveRunFiles(const RunOptions& options, const RunInfo& info) {
  (void)options.fs->Remove(io::JoinPath(options.directory, io::RunName(info.number)));
  if (FindUse(info.values, info.number) == nullptr) return;
  (void)options.fs->Remove(PathOf(options, info.number));
}

}  // namespace gapless::table
