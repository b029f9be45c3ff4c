package journal

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/access/session"
)

func TestWordsAreNotLongerOnTheirWay(t *testing.T) {
	for n := range 4 {
		b, err := json.Marshal(droppedWords(7, strings.Repeat("x", n)+strings.Repeat("\u20ac", 400)))
		var words string
		if err == nil {
			err = json.Unmarshal(b, &words)
		}
		if err != nil || len(words) > session.MaxText || len(words) < session.MaxText-3 {
			t.Errorf("%d bytes, %v", len(words), err)
		}
	}
}
