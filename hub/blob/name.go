package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxName is the longest name of a blob, in bytes (Azure: 1,024 characters).
const MaxName = 1024

// maxPart is the longest file name that a part of a name becomes; file systems allow 255 bytes.
const maxPart = 240

// Ref says which blob.
type Ref struct {
	Hub       string // uid of the hub
	Container string
	Name      string
}

// parts are the steps from the store's folder, or the bucket's root, to the blob. Whoever calls has checked the name, and it is checked
// here again: one step up would lead to the files of another hub.
func (r Ref) parts() ([]string, error) {
	return append([]string{r.Hub, r.Container}, strings.Split(r.Name, "/")...), CheckName(r.Name)
}

// CheckName tells what is wrong with a blob's name: it has 1 to 1,024 bytes of UTF-8 without control characters and backslashes, no
// part between slashes is empty, "." or "..", and it does not end with a dot.
func CheckName(name string) error {
	op := "blob.CheckName"
	wrong := func(format string, args ...any) error {
		return fault.Newf(op, fault.Invalid, "the blob's name "+format, args...).Advise("use letters, digits, and slashes between parts, as in logs/2026/today.txt")
	}
	switch {
	case name == "":
		return wrong("is empty")
	case len(name) > MaxName:
		return wrong("has %d bytes, %d are allowed", len(name), MaxName)
	case !utf8.ValidString(name):
		return wrong("is not UTF-8")
	case strings.HasSuffix(name, "."):
		return wrong("ends with a dot")
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == '\\' || r == utf8.RuneError {
			return wrong("holds %q", r)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return wrong("begins or ends with a slash, or has two in a row")
		case part == "." || part == "..":
			return wrong("has a part %q", part)
		}
	}
	return nil
}

// escape makes a part of a name into a file's: any two parts become two files, none becomes a hidden one or one that leads elsewhere.
func escape(part string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(part); {
		r, n := utf8.DecodeRuneInString(part[i:])
		plain := r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.+=@,()!'$", r))
		// Some systems take "A" for "a", and drop a dot at the end.
		if foldsCase && unicode.ToLower(r) != r || r == '.' && (i == 0 || i == len(part)-1) {
			plain = false
		}
		for _, c := range []byte(part[i : i+n]) {
			if plain {
				b.WriteByte(c)
			} else {
				b.WriteByte('%')
				b.WriteByte(digits[c>>4])
				b.WriteByte(digits[c&15])
			}
		}
		i += n
	}
	if b.Len() <= maxPart {
		return b.String()
	}
	sum := sha256.Sum256([]byte(part))
	cut := b.String()[:maxPart-33]
	for !utf8.ValidString(cut) {
		cut = cut[:len(cut)-1]
	}
	return cut + "~" + hex.EncodeToString(sum[:16]) // no other name has a tilde
}
