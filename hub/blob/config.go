package blob

// Config says where blobs are and how much there may be. Dir must be given; every other field's zero value works.
type Config struct {
	Dir       string // blobs are in Dir/blobs, unless Bucket is given; blocks wait in Dir/staged
	Bucket    string // URL of a bucket: s3://name?region=.., azblob://name, file:///path, mem://
	MaxBlob   int64  // bytes of one blob; 16 GiB
	MaxBlocks int    // of one upload; 50,000
	MaxStaged int64  // bytes of all blocks that wait, in all uploads; 64 GiB
	Reserve   int64  // free bytes of the disk that are left alone; 5 % of it, at least 320 MiB and at most 5 GiB: five times what the event log leaves
}

func (c Config) withDefaults() Config {
	if c.MaxBlob <= 0 {
		c.MaxBlob = 16 << 30
	}
	if c.MaxBlocks <= 0 {
		c.MaxBlocks = 50_000
	}
	if c.MaxStaged <= 0 {
		c.MaxStaged = 64 << 30
	}
	return c
}
