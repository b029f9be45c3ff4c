package query

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

// Parse reads a whole query: SELECT [TOP n] * or columns, FROM a collection, and WHERE and GROUP BY where wanted. Names of properties
// may begin with the collection's (devices.jobs.status) or with a name given to it (FROM devices AS d); the tree is without.
func Parse(text string) (*Query, error) {
	p, err := start("query.Parse", text)
	if err != nil {
		return nil, err
	}
	return p.query()
}

// ParseCondition reads what may follow WHERE. An empty text, and *, hold always.
func ParseCondition(text string) (Condition, error) {
	if t := strings.TrimSpace(text); t == "" || t == "*" {
		return Condition{}, nil
	}
	p, err := start("query.ParseCondition", text)
	if err != nil {
		return Condition{}, err
	}
	x, err := p.expression()
	if err == nil && p.at.sort != end {
		err = p.expected("AND, OR or the end")
	}
	if err != nil {
		return Condition{}, err
	}
	return Condition{x}, nil
}

type parser struct {
	lexer
	at    token // what comes next
	depth int
}

func start(op, text string) (*parser, error) {
	if len(text) > MaxText {
		return nil, fault.Newf(op, fault.TooLarge, "the query has %d bytes, %d are allowed", len(text), MaxText)
	}
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return nil, fault.New(op, fault.Invalid, "the query holds bytes that are no text in UTF-8, or a zero character")
	}
	p := &parser{lexer: lexer{op: op, text: text}}
	return p, p.take()
}

// take goes on to the next token.
func (p *parser) take() (err error) {
	p.at, err = p.scan()
	return err
}

func (p *parser) is(symbolText string) bool { return p.at.sort == symbol && p.at.text == symbolText }

func (p *parser) keyword(k string) bool { return p.at.sort == name && strings.EqualFold(p.at.text, k) }

// skip takes a symbol or keyword if it is next.
func (p *parser) skip(what string) (bool, error) {
	if !p.is(what) && !p.keyword(what) {
		return false, nil
	}
	return true, p.take()
}

func (p *parser) need(what string) error {
	ok, err := p.skip(what)
	if err == nil && !ok {
		err = p.expected(what)
	}
	return err
}

// foreign are words of SQL which this language lacks, with what there is instead.
var foreign = map[string]string{
	"ORDER": "results come in the order of device ids; there is no ORDER BY", "LIKE": "use STARTSWITH, ENDSWITH or CONTAINS",
	"BETWEEN": "write x >= 1 AND x <= 2", "JOIN": "a query goes over one collection", "HAVING": "conditions stand after WHERE only",
	"DISTINCT": "use GROUP BY", "LIMIT": "write SELECT TOP n", "OFFSET": "ask for the next page with the continuation", "IS": "write IS_NULL(x) or IS_DEFINED(x)",
	"UPDATE": "queries only read", "DELETE": "queries only read", "INSERT": "queries only read", "UNION": "ask twice",
}

func (p *parser) expected(what string) error {
	found := p.lexer.text[p.at.at:p.next]
	if p.at.sort == end {
		found = "the end"
	} else {
		found = fmt.Sprintf("%.40q", found)
	}
	err := p.fail(p.at.at, "%s is expected and %s is found", what, found)
	if p.at.sort == name {
		if advice := foreign[strings.ToUpper(p.at.text)]; advice != "" {
			err = err.Advise("%s", advice)
		}
	}
	return err
}

func (p *parser) query() (*Query, error) {
	q := &Query{}
	if err := p.need("SELECT"); err != nil {
		return nil, err
	}
	if top, err := p.skip("TOP"); err != nil {
		return nil, err
	} else if top {
		n := p.at.number
		if p.at.sort != number || n < 1 || n >= MaxTop || n != float64(int(n)) {
			return nil, p.expected("a whole number above 0 after TOP")
		}
		q.Top = int(n)
		if err := p.take(); err != nil {
			return nil, err
		}
	}
	if all, err := p.skip("*"); err != nil {
		return nil, err
	} else if !all {
		if err := p.columns(q); err != nil {
			return nil, err
		}
	}
	alias, err := p.from(q)
	if err != nil {
		return nil, err
	}
	if where, err := p.skip("WHERE"); err != nil {
		return nil, err
	} else if where {
		if q.Where, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if err := p.groupBy(q); err != nil {
		return nil, err
	}
	if p.at.sort != end {
		return nil, p.expected("the end")
	}
	q.withoutPrefix(alias)
	return q, p.check(q)
}

func (p *parser) columns(q *Query) error {
	for {
		i, err := p.column(len(q.Items) + 1)
		if err != nil {
			return err
		}
		q.Items = append(q.Items, i)
		if more, err := p.skip(","); err != nil || !more {
			return err
		}
	}
}

func (p *parser) column(nth int) (i Item, err error) {
	i.Name = fmt.Sprintf("$%d", nth)
	if p.at.sort == name && p.opensCall() {
		i.Value, err = p.aggregate()
	} else {
		var path Path
		path, err = p.path("* or a property or an aggregate function")
		i.Value = path
		if len(path.Rest) == 0 && err == nil {
			i.Name = path.Keys[len(path.Keys)-1]
		}
	}
	if err != nil {
		return i, err
	}
	as, err := p.skip("AS")
	if err != nil || !as {
		return i, err
	}
	if p.at.sort != name && p.at.sort != bracket && (p.at.sort != text || p.at.text == "") {
		return i, p.expected("a name after AS")
	}
	i.Name = p.at.text
	return i, p.take()
}

// opensCall tells whether the name that is next has an opening parenthesis behind it.
func (p *parser) opensCall() bool {
	return strings.HasPrefix(strings.TrimLeft(p.lexer.text[p.next:], " \t\r\n"), "(")
}

func (p *parser) aggregate() (Expr, error) {
	a := Aggregate{Name: strings.ToUpper(p.at.text)}
	if !slices.Contains([]string{"COUNT", "SUM", "AVG", "MIN", "MAX"}, a.Name) {
		return nil, p.fail(p.at.at, "%.40s is no function that can be selected", p.at.text).Advise("there are COUNT, SUM, AVG, MIN and MAX")
	}
	if err := p.take(); err != nil {
		return nil, err
	}
	if err := p.need("("); err != nil {
		return nil, err
	}
	if a.Name == "COUNT" {
		if _, err := p.skip("*"); err != nil {
			return nil, err
		}
	} else {
		of, err := p.path("a property")
		if err != nil {
			return nil, err
		}
		a.Of = &of
	}
	return a, p.need(")")
}

// from reads the collection, and the name it may be given.
func (p *parser) from(q *Query) (alias string, err error) {
	if err := p.need("FROM"); err != nil {
		return "", err
	}
	at := p.at
	if at.sort != name {
		return "", p.expected("devices, devices.modules or devices.jobs")
	}
	path, err := p.path("devices, devices.modules or devices.jobs")
	if err != nil {
		return "", err
	}
	q.From = Collection(strings.ToLower(strings.Join(path.Keys, ".")))
	if !slices.Contains([]Collection{Devices, Modules, Jobs}, q.From) || len(path.Rest) > 0 {
		return "", p.fail(at.at, "there is no collection %.60s", path).Advise("queries go FROM devices, devices.modules or devices.jobs")
	}
	as, err := p.skip("AS")
	if err != nil {
		return "", err
	}
	if p.at.sort != name || p.keyword("WHERE") || p.keyword("GROUP") || foreign[strings.ToUpper(p.at.text)] != "" {
		if as {
			err = p.expected("a name after AS")
		}
		return "", err
	}
	alias = p.at.text
	return alias, p.take()
}

func (p *parser) groupBy(q *Query) error {
	if group, err := p.skip("GROUP"); err != nil || !group {
		return err
	}
	if err := p.need("BY"); err != nil {
		return err
	}
	for {
		if len(q.GroupBy) == maxGroup {
			return p.fail(p.at.at, "there are more than %d properties after GROUP BY", maxGroup)
		}
		path, err := p.path("a property")
		if err != nil {
			return err
		}
		q.GroupBy = append(q.GroupBy, path)
		if more, err := p.skip(","); err != nil || !more {
			return err
		}
	}
}

// check refuses what is well written and means nothing.
func (p *parser) check(q *Query) error {
	names := map[string]bool{}
	for _, i := range q.Items {
		if names[i.Name] {
			return fault.Newf(p.op, fault.Invalid, "two columns of the result are called %.60q", i.Name).Advise("give one of them another name with AS")
		}
		names[i.Name] = true
	}
	if !q.Aggregates() {
		return nil
	}
	if len(q.Items) == 0 {
		return fault.New(p.op, fault.Invalid, "SELECT * and GROUP BY do not go together").Advise("select the properties grouped by, and aggregates")
	}
	for _, i := range q.Items {
		path, ok := i.Value.(Path)
		if ok && !slices.ContainsFunc(q.GroupBy, path.equal) {
			return fault.Newf(p.op, fault.Invalid, "%.60s is selected beside aggregates and is not grouped by", path).
				Advise("add it to GROUP BY, or leave it out")
		}
	}
	return nil
}
