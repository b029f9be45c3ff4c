package message

import (
	"slices"
	"strings"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // methods of the language that touch nothing outside

	"github.com/isthmus-io/isthmus/fault"
)

// Functions of Bloblang that expressions may use. What is not listed does not exist for them, so that a new version of the library, or
// another part of the program that links more of it, opens nothing. What depends on anything but the event is left out too: the same event
// must become the same when it is sent again, and in a test.
var functions = []string{
	"bytes", "content", "deleted", "json", "meta", "metadata", "nothing", "pi", "range", "root_meta", "throw", "var",
}

// Methods are pure, but these read programs or unbounded amounts out of data.
var methodsLeftOut = []string{"bloblang", "decompress", "infer_schema", "json_schema"}

const maxMapRecursion = 200

// Language returns the Bloblang that bridges speak.
var Language = sync.OnceValue(func() *bloblang.Environment {
	e := bloblang.NewEnvironment().WithDisabledImports().WithMaxMapRecursion(maxMapRecursion)
	var no []string
	e.WalkFunctions(func(name string, _ *bloblang.FunctionView) {
		if !slices.Contains(functions, name) {
			no = append(no, name)
		}
	})
	return e.OnlyPure().WithoutFunctions(no...).WithoutMethods(methodsLeftOut...)
})

// compile reads Bloblang. The words of its error tell the place.
func compile(op, text string) (*bloblang.Executor, error) {
	if strings.TrimSpace(text) == "" {
		return nil, fault.New(op, fault.Invalid, "an expression is empty").Advise("write Bloblang, such as this.temperature")
	}
	x, err := Language().Parse(text)
	if err != nil {
		return nil, fault.Newf(op, fault.Invalid, "the Bloblang %.60q is wrong: %.300s", text, err.Error()).
			Advise("expressions see the event only: there are no files, no environment, no clock and no chance in them; @enqueued is when it came in")
	}
	return x, nil
}

// looksAtMetadata is true for all texts that do, and for some that do not.
func looksAtMetadata(text string) bool {
	return strings.Contains(text, "@") || strings.Contains(text, "meta")
}
