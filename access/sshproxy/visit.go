package sshproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/recording"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshproxy/filewatch"
	"github.com/isthmus-io/isthmus/fault"
)

// visit is one session.
type visit struct {
	p      *Proxy
	s      gate.Session
	log    *slog.Logger
	began  time.Time // by our clock
	cancel func()    // closes both connections

	// Set during the handshake, by one goroutine.
	greet         func(string) error // shows the person words before he is in
	refusal       error              // of the last certificate
	account       string
	mayPTY        bool
	mayForward    bool
	person        ssh.Conn
	personChans   <-chan ssh.NewChannel
	personReqs    <-chan *ssh.Request
	machine       ssh.Conn
	machineChans  <-chan ssh.NewChannel
	machineReqs   <-chan *ssh.Request
	tape          *recording.Writer
	channels      sync.WaitGroup // their goroutines
	machinesParts sync.WaitGroup // those of them that bring what the machine sends

	mu          sync.Mutex // guards the fields below
	err         error      // why it could not begin, or had to end
	out         gate.Outcome
	count       int  // channels there are
	unsettled   int  // channels the machine has not ended
	machineGone bool // or going: no new channels
	noMore      bool // the person's program will open no more sessions
	more        int  // commands that Commands had no room for
}

// offset is the control plane's clock minus ours, as the gate knew it when the session was opened.
func (v *visit) offset() time.Duration {
	if v.s.Opened.IsZero() {
		return 0
	}
	return v.s.Opened.Sub(v.began)
}

// now is the control plane's time.
func (v *visit) now() time.Time { return v.p.clk.Now().Add(v.offset()) }

// fail notes why the session cannot go on. The first reason stays. It returns err.
func (v *visit) fail(end session.End, err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err, v.out.End = err, end
	}
	return err
}

// abort is fail, and the end of both connections.
func (v *visit) abort(end session.End, err error) {
	_ = v.fail(end, err) // it returns what it was given
	v.cancel()
}

func (v *visit) failed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err != nil
}

// outcome is asked for when everything has ended.
func (v *visit) outcome() (gate.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		v.out.Words = fault.Message(v.err)
		v.log.Warn("an SSH session could not go on", "end", v.out.End, "error", v.err)
	} else if v.more > 0 {
		v.out.Words = fmt.Sprintf("%d more commands are in the recording", v.more)
	}
	if len(v.out.Words) > session.MaxText {
		v.out.Words = strings.ToValidUTF8(v.out.Words[:session.MaxText], "")
	}
	return v.out, v.err
}

// record begins the recording.
func (v *visit) record() error {
	const op = "sshproxy.record"
	if v.p.cfg.Journal == nil {
		return v.fail(session.NotRecordable, fault.New(op, fault.Unavailable, "this process keeps no recordings, and the target requires one"))
	}
	file, err := v.p.cfg.Journal.Recording(v.s.ID)
	if err != nil {
		return v.fail(session.NotRecordable, fault.Wrap(op, fault.Unavailable, err, "the session has to be recorded, which cannot be done: "+fault.Message(err)))
	}
	tape, err := recording.NewWriter(file, v.s.Target.Record.Recipients, recording.Header{
		Timestamp: v.s.Opened, Title: v.s.Grant.Name + " as " + v.account + " at " + v.s.Target.Name,
	}, v.p.clk, recording.WithMaxBytes(v.p.cfg.MaxRecording))
	if err != nil {
		file.Close()
		return v.fail(session.NotRecordable, fault.Wrap(op, fault.Unavailable, err, "the session has to be recorded, which cannot be done: "+fault.Message(err)))
	}
	v.tape = tape
	v.mu.Lock()
	v.out.Login, v.out.Recording = v.account, v.s.ID
	v.mu.Unlock()
	return nil
}

// run is the whole life of the session. Its goroutines have ended when it returns.
func (v *visit) run(ctx context.Context, person, machine net.Conn) {
	var err error
	bounded(v.p.clk, handshakeTime, func() {
		v.abort(session.BadLogin, fault.New("sshproxy.Serve", fault.Timeout, "the SSH handshake was not finished in half a minute"))
	}, func() { err = v.welcome(ctx, person, machine) })
	var wg sync.WaitGroup
	if v.machine != nil {
		wg.Go(func() { ssh.DiscardRequests(v.machineReqs) }) // among them keepalives, to which a refusal is an answer
		wg.Go(func() {
			for c := range v.machineChans {
				_ = c.Reject(ssh.Prohibited, "nothing is forwarded to people") // the channel's end is that of the connection
			}
		})
		wg.Go(v.waitForMachine)
	}
	if err == nil {
		wg.Go(func() {
			if err := v.tape.Run(ctx); err != nil {
				v.abort(session.NotRecordable, err)
			}
		})
		wg.Go(v.global)
		for c := range v.personChans {
			v.take(c)
		}
		v.left(ctx, v.person.Wait())
	}
	v.cancel()
	v.channels.Wait()
	wg.Wait()
	if v.tape != nil {
		if err := v.tape.Close(); err != nil {
			_ = v.fail(session.NotRecordable, err) // it returns what it was given
		}
	}
}

// waitForMachine ends the person's connection when the machine has ended its own, after all that it sent was passed on.
func (v *visit) waitForMachine() {
	_ = v.machine.Wait() // every end has an error
	v.mu.Lock()
	v.machineGone = true
	v.mu.Unlock()
	v.machinesParts.Wait()
	if v.person != nil {
		_ = v.person.Close() // the person may have gone
	}
}

// left decides how the session ended, when the person's connection did with an error.
func (v *visit) left(ctx context.Context, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.err != nil || ctx.Err() != nil:
	case v.machineGone:
		v.out.End, v.out.Words = session.EndBroken, "the machine's sshd ended the connection"
	case v.unsettled > 0 && !strings.Contains(err.Error(), "ssh: disconnect"): // the library has no type for the message
		v.out.End = session.EndBroken
	}
}

// global answers requests about the whole connection: all are refused, keepalives among them, whose answer does not matter.
func (v *visit) global() {
	for r := range v.personReqs {
		if r.Type == "no-more-sessions@openssh.com" {
			v.mu.Lock()
			v.noMore = true
			v.mu.Unlock()
		}
		_ = r.Reply(false, nil) // the connection's end is seen elsewhere
	}
}

// take gives a channel goroutines of its own, or refuses it.
func (v *visit) take(c ssh.NewChannel) {
	serve, reason, words := v.server(c)
	v.mu.Lock()
	switch {
	case serve == nil:
	case v.machineGone:
		serve, reason, words = nil, ssh.ConnectionFailed, "the machine is gone"
	case v.noMore && c.ChannelType() == "session":
		serve, reason, words = nil, ssh.Prohibited, "there were to be no more sessions"
	case v.count == v.p.cfg.MaxChannels:
		serve, reason, words = nil, ssh.ResourceShortage, "too many channels are open"
	default:
		v.count++
		v.channels.Add(1)
		v.machinesParts.Add(1)
	}
	v.mu.Unlock()
	if serve == nil {
		_ = c.Reject(reason, words) // as above
		return
	}
	go func() {
		defer v.channels.Done()
		serve(c)
		v.mu.Lock()
		v.count--
		v.mu.Unlock()
	}()
}

// server chooses what serves a channel; nil: nothing does.
func (v *visit) server(c ssh.NewChannel) (serve func(ssh.NewChannel), reason ssh.RejectionReason, words string) {
	switch c.ChannelType() {
	case "session":
		return v.session, 0, ""
	case "direct-tcpip":
		if words := v.mayReach(c.ExtraData()); words != "" {
			_ = v.mark("refused: " + words) // a recording that fails ends the session elsewhere
			return nil, ssh.Prohibited, words
		}
		return v.forward, 0, ""
	}
	return nil, ssh.Prohibited, "sessions only: this target is recorded"
}

// mark writes a marker into the recording.
func (v *visit) mark(text string) error {
	err := v.tape.Mark(text)
	if err != nil {
		v.abort(session.NotRecordable, err)
	}
	return err
}

// command notes what was run without a terminal.
func (v *visit) command(text string) error {
	short := filewatch.Printable(text)
	v.mu.Lock()
	if len(v.out.Commands) < session.MaxCommands {
		v.out.Commands = append(v.out.Commands, short)
	} else {
		v.more++
	}
	v.mu.Unlock()
	if err := v.mark("command: " + short); err != nil || len(short) <= wholeCommand {
		return err
	}
	for n := 1; text != ""; n++ { // what counts may stand at its end
		part := text[:min(len(text), commandPart)]
		text = text[len(part):]
		if err := v.mark(fmt.Sprintf("part %d of the command: %s", n, filewatch.Printable(part))); err != nil {
			return err
		}
	}
	return nil
}

const (
	wholeCommand = 960 // bytes of a command that surely stand in a marker
	commandPart  = 200 // bytes that do in the parts of a longer one, however they have to be quoted
)

// file notes what was carried.
func (v *visit) file(f session.File) {
	v.mu.Lock()
	if len(v.out.Files) < session.MaxFiles {
		v.out.Files = append(v.out.Files, f)
	} else {
		v.out.MoreFiles++
	}
	v.mu.Unlock()
	way, sum := "download", "no hash"
	if f.Upload {
		way = "upload"
	}
	if f.SHA256 != "" {
		sum = "sha256 " + f.SHA256
	}
	// The name comes last: it is the part that may be cut.
	_ = v.mark(fmt.Sprintf("%s: %d bytes, %s: %s", way, f.Size, sum, f.Name)) // it ended the session if it failed
}

// loopback are hosts that are the machine itself, as its sshd understands them.
func loopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return slices.Contains([]string{"localhost", "localhost."}, strings.ToLower(host))
}
