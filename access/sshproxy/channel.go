package sshproxy

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshproxy/filewatch"
	"github.com/isthmus-io/isthmus/fault"
)

// commandBytes is how much of what a command without a terminal reads and writes is recorded, each way.
const commandBytes = 256 << 10

// channel is one session of the SSH connection: a shell, a command or a subsystem.
type channel struct {
	v       *visit
	person  ssh.Channel
	machine ssh.Channel
	errors  locked // the person's second stream

	// Belong to the goroutine of the person's requests until something was started.
	terminal      bool
	noEcho        bool
	term          string
	width, height int
	started       bool

	mu      sync.Mutex // guards the fields below
	screen  *recording.Terminal
	watch   filewatch.Watcher
	bounded bool     // not more than room is recorded
	room    [2]int   // bytes shown and typed
	beyond  [2]int64 // bytes for which there was none
}

const shown, typed = 0, 1

// session serves a channel until both ends have closed it.
func (v *visit) session(nc ssh.NewChannel) {
	machinesEnd := sync.OnceFunc(v.machinesParts.Done)
	defer machinesEnd()
	m, machineReqs, err := v.machine.OpenChannel("session", nil)
	if err != nil {
		reason, words := ssh.ConnectionFailed, "the machine did not open the session"
		if e, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			reason, words = e.Reason, "the machine said: "+filewatch.Printable(e.Message)
		}
		_ = nc.Reject(reason, words) // the person's connection ends, and that is seen elsewhere
		return
	}
	p, personReqs, err := nc.Accept()
	if err != nil {
		_ = m.Close() // the machine may have gone
		ssh.DiscardRequests(machineReqs)
		return
	}
	c := &channel{v: v, person: p, machine: m, errors: locked{w: p.Stderr()}}
	v.mu.Lock()
	v.unsettled++
	v.mu.Unlock()
	var person, machine, wg sync.WaitGroup
	machine.Go(func() { c.fromMachine(machineReqs) })
	machine.Go(func() { c.copyOut(p, m, true) })
	machine.Go(func() { c.copyOut(&c.errors, m.Stderr(), false) })
	person.Go(func() { c.fromPerson(personReqs, &person) })
	// An end's close is passed on when all that came before it was.
	wg.Go(func() {
		machine.Wait()
		v.mu.Lock()
		v.unsettled--
		v.mu.Unlock()
		_ = p.CloseWrite() // the person may have gone
		_ = p.Close()      // as above
		machinesEnd()
	})
	wg.Go(func() {
		person.Wait()
		_ = m.Close() // the machine may have gone
	})
	wg.Wait()
	c.over()
}

// copyOut passes on what the machine sends. The end of data is passed on with the channel's, for SSH has one for both of its streams.
func (c *channel) copyOut(dst io.Writer, src io.Reader, main bool) {
	err := carry(dst, src, func(p []byte) error {
		if main {
			return c.saw(shown, p)
		}
		return c.sawErrors(p)
	})
	if err != nil {
		c.broken(err)
		// What the machine still sends is taken, so that its other channels go on.
		_, _ = io.Copy(io.Discard, src) // it ends with the channel
	}
}

// copyIn passes on what the person sends.
func (c *channel) copyIn() {
	err := carry(c.machine, c.person, func(p []byte) error { return c.saw(typed, p) })
	c.broken(err)
	if err == nil {
		_ = c.machine.CloseWrite() // the machine may have gone
	}
}

// unseen is what could not be recorded or followed.
type unseen struct{ err error }

func (u unseen) Error() string { return u.err.Error() }

// broken ends what must not go on.
func (c *channel) broken(err error) {
	u, ok := errors.AsType[unseen](err)
	if !ok {
		return // an end went away, which its own goroutines see
	}
	if fault.KindOf(u.err) != fault.Invalid {
		c.v.abort(session.NotRecordable, u.err)
		return
	}
	_ = c.v.mark("ended: " + fault.Message(u.err))                                                      // it ended the session if it failed
	_, _ = fmt.Fprintf(&c.errors, "isthmus: this target is recorded, and %s\r\n", fault.Message(u.err)) // the person may have gone
	_ = c.machine.Close()                                                                               // as above
}

// carry copies until the end of data. see is called with all that passes before it does, and its error ends it. The buffer grows with what
// passes: an idle channel holds little.
func carry(dst io.Writer, src io.Reader, see func([]byte) error) error {
	buf := make([]byte, 512)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if err := see(buf[:n]); err != nil {
				return unseen{err}
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == len(buf) && n < 32<<10 {
			buf = make([]byte, 4*n)
		}
	}
}

// saw records what passes on the channel's main stream.
func (c *channel) saw(direction int, p []byte) error {
	c.mu.Lock()
	watch := c.watch
	c.mu.Unlock()
	switch {
	case watch != nil && direction == shown:
		return watch.FromMachine(p)
	case watch != nil:
		return watch.FromPerson(p)
	}
	return c.onScreen(direction, p)
}

// sawErrors records what passes on the machine's second stream.
func (c *channel) sawErrors(p []byte) error { return c.onScreen(shown, p) }

func (c *channel) onScreen(direction int, p []byte) error {
	if direction == typed && (c.noEcho || c.v.p.cfg.NoInput) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.screen == nil {
		return nil
	}
	if c.bounded {
		n := min(len(p), c.room[direction])
		c.room[direction] -= n
		c.beyond[direction] += int64(len(p) - n)
		p = p[:n]
	}
	if direction == shown {
		return c.screen.Output(p)
	}
	return c.screen.Input(p)
}

// over notes what can only be known at the end.
func (c *channel) over() {
	c.mu.Lock()
	watch, screen, beyond := c.watch, c.screen, c.beyond
	c.mu.Unlock()
	if watch != nil {
		watch.End()
	}
	if screen != nil {
		screen.Close()
	}
	if beyond != [2]int64{} {
		_ = c.v.mark(fmt.Sprintf("not recorded of the last command: %d bytes written, %d bytes read", beyond[shown], beyond[typed])) // it ended the session if it failed
	}
}

// locked is a writer for more than one goroutine, which the library's are not.
type locked struct {
	mu sync.Mutex // held while w writes
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
