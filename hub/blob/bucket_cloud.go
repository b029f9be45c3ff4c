//go:build !slim

package blob

import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/s3blob"    // s3://, and whatever speaks its protocol
)
