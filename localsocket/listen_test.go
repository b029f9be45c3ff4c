package localsocket_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/localsocket"
)

func TestASocketIsItsOwnersAndOneProcesss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "door.sock")
	l, err := localsocket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	i, err := os.Stat(path)
	if err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i.Mode(), err)
	}
	if _, err := localsocket.Listen(path); fault.KindOf(err) != fault.Conflict {
		t.Error("a second listener:", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Error("left behind:", left)
	}
	_ = l.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("the file stays")
	}
}

func TestALeftoverIsReplacedAndANewersFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "door.sock")
	old, err := localsocket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = old.UnixListener.Close() // as when the process was killed
	l, err := localsocket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_ = old.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal("an older listener took the file away:", err)
	}
	_ = c.Close()
}

func TestAPathThatIsTooLongIsSaidInWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), string(make([]byte, 0))+"a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name.sock")
	if l, err := localsocket.Listen(path); err == nil {
		_ = l.Close()
		t.Skip("this platform takes it") // the limit is the platform's
	} else if fault.KindOf(err) != fault.Invalid || fault.Message(err) == "" {
		t.Error(err)
	}
}
