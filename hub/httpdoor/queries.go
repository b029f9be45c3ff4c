package httpdoor

import (
	"encoding/json"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

const maxQueryBody = 64 << 10

// The headers by which long answers are read in pages (IoT Hub service REST API, Get Twins).
const (
	continuationHeader = "x-ms-continuation"
	itemTypeHeader     = "x-ms-item-type"
	itemCountHeader    = "x-ms-max-item-count"
)

func runQuery(x *exchange) error {
	var in struct{ Query string }
	if err := x.decode(maxQueryBody, &in); err != nil {
		return err
	}
	most, err := x.pageSize()
	if err != nil {
		return err
	}
	page, err := x.hub.Query(x.Context(), in.Query, most, x.Header.Get(continuationHeader))
	return x.answerPage(page, err)
}

// pageSize reads how many items a page may have; 0 leaves it to the hub.
func (x *exchange) pageSize() (int, error) {
	s := x.Header.Get(itemCountHeader)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fault.Newf("httpdoor.pageSize", fault.Invalid, "%s is %.20q", itemCountHeader, s).Advise("it is a number above 0")
	}
	return n, nil
}

func (x *exchange) answerPage(p hub.Page, err error) error {
	if err != nil {
		return err
	}
	x.w.Header().Set(itemTypeHeader, p.Kind)
	if p.Continuation != "" {
		x.w.Header().Set(continuationHeader, p.Continuation)
	}
	if p.Items == nil {
		p.Items = []json.RawMessage{} // SDKs count on an array
	}
	return x.reply(p.Items)
}

// explainQuery shows how a query is answered: its SQL and the plan of the database.
func explainQuery(x *exchange) error {
	var in struct{ Query string }
	if err := x.decode(maxQueryBody, &in); err != nil {
		return err
	}
	text, err := x.hub.QueryPlan(x.Context(), in.Query)
	if err != nil {
		return err
	}
	return x.reply(map[string]string{"plan": text})
}

func listIndexes(x *exchange) error {
	list, err := x.hub.Indexes(x.Context())
	if err != nil {
		return err
	}
	if list == nil {
		list = []string{}
	}
	return x.reply(list)
}

func declareIndex(x *exchange) error {
	if err := x.hub.DeclareIndex(x.Context(), x.name); err != nil {
		return err
	}
	return x.nothing()
}

func dropIndex(x *exchange) error {
	if err := x.hub.DropIndex(x.Context(), x.name); err != nil {
		return err
	}
	return x.nothing()
}
