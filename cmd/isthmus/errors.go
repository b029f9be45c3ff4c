package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/manifest"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that cannot be meant.
type usageError struct{ message, next string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) *usageError {
	return &usageError{message: fmt.Sprintf(format, args...)}
}

func (e *usageError) advise(format string, args ...any) *usageError {
	e.next = fmt.Sprintf(format, args...)
	return e
}

// errSilent fails without words, for commands that have printed what there is to say.
var errSilent = errors.New("failed")

// fail prints an error for people and returns the exit code.
func (w *world) fail(c *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errSilent) {
		return exitFailed
	}
	if code, ok := codeOf(err); ok {
		return code
	}
	var u *usageError
	if errors.As(err, &u) {
		next := u.next
		if next == "" {
			next = "see: " + c.CommandPath() + " --help"
		}
		w.complain(u.message, next)
		return exitUsage
	}
	message, next := words(err)
	if ps := manifest.ProblemsOf(err); len(ps) > 1 {
		message = fmt.Sprintf("the manifests have %d problems\n%s", len(ps), message)
	}
	w.complain(message, next)
	return exitFailed
}

func (w *world) complain(message, next string) {
	paint := w.painter()
	_, _ = fmt.Fprintln(w.err, paint(red, "error:")+" "+harmlessLines(strings.TrimRight(message, "\n")))
	if next != "" {
		_, _ = fmt.Fprintln(w.err, "next: "+harmlessLines(next))
	}
}

// harmlessLines is harmless for a text of several lines: words of faults quote files and what servers said.
func harmlessLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = harmless(line)
	}
	return strings.Join(lines, "\n")
}

// words returns what to tell the person at the terminal. It is their own process, so an unexplained failure is shown with its cause.
func words(err error) (message, next string) {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Message != "" {
		return f.Message, f.Next
	}
	return err.Error(), fault.Next(err)
}
