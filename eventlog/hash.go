package eventlog

// Hash maps a partition key to a number; the partition is that number modulo the count of partitions. It must give the same number
// on every machine and in every release, since the order of a device's events hangs on it.
type Hash func(partitionKey string) uint32

// FNV is the hash used unless Config names another: FNV-1a with 64 bits (offset basis 14695981039346656037, prime 1099511628211) over
// the key's UTF-8 bytes, folded to 32 bits by xor of both halves, as the authors of FNV advise, because its low bits alone depend
// only on the low bits of the input.
func FNV(key string) uint32 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return uint32(h>>32) ^ uint32(h)
}
