// FlowReader over a file: large reads into one window, entries straight out of it. One thread at a
// time.
//
// Memory: the window (one chunk with its header), one decompressed chunk, one value that was cut.
// Everything is checked again while it is read, so that a file damaged since its verification
// cannot pass.
#include <algorithm>

#include "snapshot/flow_decoder.h"
#include "snapshot/snapshot.h"

namespace gapless::snapshot {
namespace {

constexpr size_t kWindowBytes = kChunkHeaderBytes + kChunkRawBytesMax;

class FileFlowReader : public FlowReader {
 public:
  FileFlowReader(std::unique_ptr<io::File> file, uint64_t file_bytes, const FlowHeader& expected)
      : file_(std::move(file)),
        file_bytes_(file_bytes),
        window_bytes_(static_cast<size_t>(std::min<uint64_t>(kWindowBytes, file_bytes))),
        header_(expected),
        decoder_(expected, file_->path(), true),
        window_(std::make_unique_for_overwrite<char[]>(window_bytes_)) {}

  const FlowHeader& header() const override { return header_; }

  Result<bool> Next(table::Entry* entry) override {
    while (true) {
      const Result<bool> more = decoder_.NextEntry(entry);
      if (!more.ok() || more.value()) return more;
      if (decoder_.complete()) return AtEnd();
      const Status stepped = StepUnit();
      if (!stepped.ok()) return stepped;
    }
  }

  // Gives the decoder its next header, chunk or footer.
  Status StepUnit() {
    Slice bytes;
    RETURN_IF_ERROR(Fetch(decoder_.wanted(), &bytes));
    return decoder_.Step(bytes);
  }

 private:
  Result<bool> AtEnd() const {
    if (decoder_.verified_bytes() == file_bytes_) return false;
    return Damaged("footer", "bytes behind the end of the flow", file_->path(),
                   decoder_.verified_bytes());
  }

  // The next `count` bytes of the file; they live until the next call.
  Status Fetch(size_t count, Slice* bytes) {
    if (held_end_ - held_ < count) RETURN_IF_ERROR(Refill(count));
    *bytes = Slice(window_.get() + held_, count);
    held_ += count;
    return Status::Ok();
  }

  Status Refill(size_t count) {
    const size_t left = held_end_ - held_;
    const uint64_t end = read_ - left + count;  // in the file
    if (end > file_bytes_) {
      return Damaged("short", "flow ends before its footer", file_->path(), file_bytes_);
    }
    std::memmove(window_.get(), window_.get() + held_, left);
    held_ = 0;
    held_end_ = left;
    size_t got = 0;
    RETURN_IF_ERROR(file_->ReadAt(read_, window_.get() + left, window_bytes_ - left, &got));
    read_ += got;
    held_end_ += got;
    if (held_end_ >= count) return Status::Ok();
    return Damaged("short", "flow became shorter while it was read", file_->path(), read_);
  }

  const std::unique_ptr<io::File> file_;
  const uint64_t file_bytes_;
  const size_t window_bytes_;
  const FlowHeader header_;
  FlowDecoder decoder_;
  const std::unique_ptr<char[]> window_;
  size_t held_ = 0;  // window_[held_, held_end_) is not used yet
  size_t held_end_ = 0;
  uint64_t read_ = 0;  // file offset of held_end_
};

}  // namespace

Result<std::unique_ptr<FlowReader>> OpenFlow(io::FileSystem* fs, const std::string& path,
                                             const FlowHeader& expected) {
  Result<std::unique_ptr<io::File>> file = fs->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = file.value()->Size();
  if (!size.ok()) return size.status();
  auto reader = std::make_unique<FileFlowReader>(std::move(file.value()), size.value(), expected);
  RETURN_IF_ERROR(reader->StepUnit());
  return std::unique_ptr<FlowReader>(std::move(reader));
}

}  // namespace gapless::snapshot
