package database

import (
	"strconv"
	"strings"
)

// dialect is what differs between the two databases beside the types in the migrations.
type dialect uint8

const (
	sqlite dialect = iota
	postgres
)

func (d dialect) String() string {
	if d == postgres {
		return "postgres"
	}
	return "sqlite"
}

func (d dialect) migrations() string { return "migrations/" + d.String() }

func (d dialect) other() dialect { return postgres - d }

// rebind turns each ? into what the database calls a parameter.
func (d dialect) rebind(query string) string {
	if d == sqlite {
		return query
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}
