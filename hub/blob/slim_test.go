//go:build slim

package blob_test

import "testing"

var clouds map[string]func(*testing.T) string
