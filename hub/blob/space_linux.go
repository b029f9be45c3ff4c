package blob

import "golang.org/x/sys/unix"

// space returns the free and the whole bytes of the disk that holds a folder; ok is false when the system does not tell.
func space(dir string) (free, total int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, 0, false
	}
	size := int64(s.Bsize) //nolint:unconvert // int32 on some processors
	return int64(s.Bavail) * size, int64(s.Blocks) * size, true
}
