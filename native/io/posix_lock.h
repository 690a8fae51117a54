// The lock of PosixFileSystem. Any thread.
//
// flock keeps other processes out, and a table of this process, keyed by device and inode, keeps
// out its own other threads even where flock is made of fcntl locks (NFS): there a second open
// would share the lock, and closing it would drop it. The table is asked before the file is opened.
#pragma once

#include <memory>
#include <string>

#include "io/file_system.h"

namespace gapless::io {

Result<std::unique_ptr<FileLock>> LockPosixFile(const std::string& path, LockMode mode);

}  // namespace gapless::io
