package query

// Limits of a text and of the tree made from it.
const (
	MaxText  = 8192 // bytes; IoT Hub: twin query limitations
	MaxDepth = 64   // levels of parentheses, functions, NOT and arithmetic
	MaxSteps = 32   // keys and indexes of one path; a twin has at most 10 levels below its sections
	MaxTop   = 1 << 31
	maxGroup = 8
)

// Collection is what a query goes over.
type Collection string

const (
	Devices Collection = "devices"
	Modules Collection = "devices.modules"
	Jobs    Collection = "devices.jobs"
)

// Query is a whole query.
type Query struct {
	Top     int    // at most so many results; 0 for all
	Items   []Item // what is selected; none means everything, SELECT *
	From    Collection
	Where   Expr // nil for all
	GroupBy []Path
}

// Item is one column of the result.
type Item struct {
	Value Expr   // a Path or an Aggregate
	Name  string // of the column, never empty: what AS says, or the last key of the path, or $1 for the first column and so on
}

// Aggregates tells whether the query counts or groups instead of listing.
func (q *Query) Aggregates() bool {
	for _, i := range q.Items {
		if _, ok := i.Value.(Aggregate); ok {
			return true
		}
	}
	return len(q.GroupBy) > 0
}

// Expr is a node of the tree, one of the types below.
type Expr interface{ expr() }

// Path names a property: Keys from the outside to the inside, and from the first index on the Rest, which is empty mostly.
type Path struct {
	Keys []string
	Rest []Step
}

// Step is an index into an array, or a key behind one.
type Step struct {
	Key   string // empty for an index
	Index int    // 0 and up
}

// Literal is null (nil), a bool, a float64 or a string.
type Literal struct{ Value any }

// Undefined is the constant of that name.
type Undefined struct{}

// Not, And and Or join conditions. And and Or have two parts or more, none of their own kind.
type (
	Not struct{ X Expr }
	And struct{ Parts []Expr }
	Or  struct{ Parts []Expr }
)

// Operator compares or calculates.
type Operator string

const (
	Equal          Operator = "="
	NotEqual       Operator = "!=" // <> is read as this
	Less           Operator = "<"
	LessOrEqual    Operator = "<="
	Greater        Operator = ">"
	GreaterOrEqual Operator = ">="

	Plus   Operator = "+"
	Minus  Operator = "-"
	Times  Operator = "*"
	Divide Operator = "/"
	Modulo Operator = "%"
)

// Compare compares two values.
type Compare struct {
	Op          Operator
	Left, Right Expr
}

// In tells whether a value equals one of a list, or with Not (NIN, NOT IN) none of it. The list holds literals.
type In struct {
	X    Expr
	List []Literal
	Not  bool
}

// Arithmetic calculates with two numbers.
type Arithmetic struct {
	Op          Operator
	Left, Right Expr
}

// Negative is a minus before something that is no number literal.
type Negative struct{ X Expr }

// Call is a function of [Functions] with as many arguments as it takes.
type Call struct {
	Name string // in capitals, without the underscore in STARTSWITH and ENDSWITH
	Args []Expr
}

// Aggregate is COUNT, SUM, AVG, MIN or MAX; only an Item has one. Of is nil for COUNT.
type Aggregate struct {
	Name string
	Of   *Path
}

func (Path) expr()       {}
func (Literal) expr()    {}
func (Undefined) expr()  {}
func (Not) expr()        {}
func (And) expr()        {}
func (Or) expr()         {}
func (Compare) expr()    {}
func (In) expr()         {}
func (Arithmetic) expr() {}
func (Negative) expr()   {}
func (Call) expr()       {}
func (Aggregate) expr()  {}

// Condition is a WHERE alone. The zero value holds always.
type Condition struct{ where Expr }

// Expr returns the tree, nil for a condition that holds always.
func (c Condition) Expr() Expr { return c.where }

// Condition returns what follows WHERE.
func (q *Query) Condition() Condition { return Condition{q.Where} }
