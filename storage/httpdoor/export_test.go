package httpdoor

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
)

// Row is an operation as the documents have it.
type Row struct{ Name, Request, Right, Why string }

// Rows is the door's table.
func Rows() []Row {
	var out []Row
	for _, o := range operations() {
		var q []string
		if o.restype != "" {
			q = append(q, "restype="+o.restype)
		}
		if o.comp != "" {
			q = append(q, "comp="+o.comp)
		}
		path := map[place]string{ofAccount: "/", ofContainer: "/{container}", ofBlob: "/{container}/{blob}"}[o.place]
		if len(q) > 0 {
			path += "?" + strings.Join(q, "&")
		}
		out = append(out, Row{o.name, strings.ReplaceAll(o.methods, " ", ", ") + " " + path, rights(o), o.why})
	}
	return out
}

func rights(o operation) string {
	if o.level == 0 {
		return "any"
	}
	var out []string
	for i, l := range "racwdl" {
		if o.oneOf&(1<<i) != 0 {
			out = append(out, string(l))
		}
	}
	level := map[storage.Level]string{storage.Service: "s", storage.Container: "c", storage.Listing: "c", storage.Object: "o"}[o.level]
	return strings.Join(out, " or ") + " at " + level
}

// ParseRange reads a range.
var ParseRange = parseRange

// AnswerTo is the status and code of an error.
var AnswerTo = answerTo

// KindsHave tells whether a kind of fault has an answer.
func KindsHave(k fault.Kind) bool { _, ok := kinds[k]; return ok }
