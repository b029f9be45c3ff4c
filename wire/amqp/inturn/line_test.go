package inturn_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/wire/amqp/inturn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneAfterTheOther(t *testing.T) {
	var l inturn.Line
	l.Wait() // nothing ever ran
	var got []int
	gate, began := make(chan struct{}), make(chan struct{})
	l.Do(func() { close(began); <-gate })
	<-began
	for i := range 1000 {
		l.Do(func() { got = append(got, i) }) // unguarded: the race detector sees two at a time
	}
	if n := l.Len(); n != 1000 {
		t.Errorf("%d wait", n)
	}
	close(gate)
	l.Wait()
	for i, n := range got {
		if i != n {
			t.Fatalf("%d came as number %d", n, i)
		}
	}
	if len(got) != 1000 || l.Len() != 0 {
		t.Errorf("%d ran, %d wait", len(got), l.Len())
	}
	again := make(chan struct{})
	l.Do(func() { close(again) })
	<-again
	l.Wait()
}
