//go:build !unix

package front

import "errors"

// MayRest tells whether Rest works here.
func (*Conn) MayRest() bool { return false }

// Rest is not possible here.
func (*Conn) Rest() error { return errors.ErrUnsupported }
