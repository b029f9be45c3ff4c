package membership

import (
	"os"
	"path/filepath"
)

// Joined tells whether dir holds an identity, so that Open will work.
func Joined(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, identityFile))
	return err == nil
}
