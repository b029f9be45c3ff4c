package azureblob

import "errors"

// Coded is an error for which the protocol has a more exact name than for its kind.
type Coded struct {
	error
	Status int
	Code   string
}

func (c *Coded) Unwrap() error { return c.error }

// With gives an error a status and a code of the protocol.
func With(err error, status int, code string) error { return &Coded{err, status, code} }

// CodeOf returns the status and the code an error was given.
func CodeOf(err error) (status int, code string, ok bool) {
	if c, ok := errors.AsType[*Coded](err); ok {
		return c.Status, c.Code, true
	}
	return 0, "", false
}
