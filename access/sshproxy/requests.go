package sshproxy

import (
	"encoding/binary"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/access/sshproxy/filewatch"
)

// fromMachine passes on how what ran there ended (RFC 4254, section 6.10), and that it reads no more.
func (c *channel) fromMachine(reqs <-chan *ssh.Request) {
	for r := range reqs {
		switch r.Type {
		case "exit-status", "exit-signal", "eow@openssh.com":
			_, _ = c.person.SendRequest(r.Type, false, r.Payload) // the person may have gone
		}
		_ = r.Reply(false, nil) // only what wants an answer gets one: keepalives, which any answer pleases
	}
}

// fromPerson carries out requests in order, until the person closes the channel. What is started has a goroutine in wg.
func (c *channel) fromPerson(reqs <-chan *ssh.Request, wg *sync.WaitGroup) {
	for r := range reqs {
		ok := false
		switch r.Type {
		case "pty-req":
			ok = !c.started && !c.terminal && c.v.mayPTY && c.wantTerminal(r.Payload) && c.ask(r)
			c.terminal = c.terminal || ok
		case "env":
			ok = !c.started && harmless(r.Payload) && c.pass(r)
		case "shell", "exec", "subsystem":
			ok = !c.started && c.begin(r.Type, r.Payload) && c.ask(r)
			if c.started = c.started || ok; ok {
				// Not before: sshd drops what comes to a channel on which nothing was started.
				wg.Go(c.copyIn)
			}
		case "window-change":
			ok = c.terminal && c.resize(r.Payload) && c.pass(r)
		case "signal", "break":
			ok = c.started && c.pass(r)
		}
		_ = r.Reply(ok, nil) // as above
	}
}

// ask passes a request on and waits for the machine's answer.
func (c *channel) ask(r *ssh.Request) bool {
	ok, err := c.machine.SendRequest(r.Type, true, r.Payload)
	return ok && err == nil
}

// pass passes a request on, and waits for an answer where the person does.
func (c *channel) pass(r *ssh.Request) bool {
	ok, err := c.machine.SendRequest(r.Type, r.WantReply, r.Payload)
	return ok && err == nil
}

// wantTerminal reads a pty-req (RFC 4254, section 6.2).
func (c *channel) wantTerminal(payload []byte) bool {
	var m struct {
		Term                          string
		Width, Height, PixelW, PixelH uint32
		Modes                         string
	}
	if ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	c.term, c.width, c.height = m.Term, int(m.Width), int(m.Height)
	c.noEcho = echoOff(m.Modes)
	return true
}

// echoOff looks for ECHO in the modes of a terminal (RFC 4254, section 8).
func echoOff(modes string) bool {
	const end, echo, firstUnknown = 0, 53, 160
	for len(modes) >= 5 && modes[0] != end && modes[0] < firstUnknown {
		if modes[0] == echo && binary.BigEndian.Uint32([]byte(modes[1:5])) == 0 {
			return true
		}
		modes = modes[5:]
	}
	return false
}

// resize reads a window-change and records it.
func (c *channel) resize(payload []byte) bool {
	var m struct{ Width, Height, PixelW, PixelH uint32 }
	if ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	c.width, c.height = int(m.Width), int(m.Height)
	c.mu.Lock()
	screen := c.screen
	c.mu.Unlock()
	if screen == nil {
		return true
	}
	if err := screen.Resize(c.width, c.height); err != nil {
		c.broken(unseen{err})
		return false
	}
	return true
}

// harmless tells whether a variable of the environment is one that only says how to write: it must not decide what is run.
func harmless(payload []byte) bool {
	var m struct{ Name, Value string }
	if ssh.Unmarshal(payload, &m) != nil || len(m.Value) > 1024 || filewatch.Printable(m.Value) != m.Value {
		return false
	}
	switch m.Name {
	case "LANG", "LANGUAGE", "COLORTERM", "NO_COLOR", "TZ":
		return true
	}
	category, ok := strings.CutPrefix(m.Name, "LC_")
	return ok && category != "" && len(category) < 32 && strings.Trim(category, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// begin prepares the recording of what is about to be started, and tells whether it may be.
func (c *channel) begin(kind string, payload []byte) bool {
	var m struct{ Text string }
	if kind != "shell" && ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	var watch filewatch.Watcher
	told := filewatch.Told{File: c.v.file, Note: func(text string) { _ = c.v.mark("files: " + text) }} // it ended the session if it failed
	bounded := false
	switch kind {
	case "subsystem":
		if m.Text != "sftp" {
			_ = c.v.mark("refused: the subsystem " + filewatch.Printable(m.Text)) // as above
			return false
		}
		watch = filewatch.NewSFTP(told)
		if c.v.mark("subsystem sftp") != nil {
			return false
		}
	case "exec":
		if c.v.command(m.Text) != nil {
			return false
		}
		if !c.terminal {
			watch, bounded = watcher(m.Text, told), true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch = watch
	if watch == nil {
		c.screen = c.v.tape.Terminal(c.width, c.height, c.term)
		c.bounded, c.room = bounded, [2]int{commandBytes, commandBytes}
	}
	return true
}

// watcher returns what reads along a command that carries files; nil: it is none. A command is taken for one only when the shell can make
// nothing else of it, for what is watched as files is not recorded otherwise.
func watcher(command string, told filewatch.Told) filewatch.Watcher {
	words := simple(command)
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server":
		return filewatch.NewSFTP(told)
	case "scp", "/usr/bin/scp":
		for _, w := range words[1:] {
			if len(w) < 2 || w[0] != '-' || w == "--" {
				return nil
			}
			// Its own options for the other end stand alone or together, such as -rt.
			switch {
			case strings.Contains(w, "t"):
				return filewatch.NewRCP(true, told)
			case strings.Contains(w, "f"):
				return filewatch.NewRCP(false, told)
			}
		}
	}
	return nil
}

// simple returns the words of a command that a shell runs as one program with arguments; nil when it may be more than that. File name patterns
// stay as they are.
func simple(command string) []string {
	var words []string
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case quote == '\'' && c != '\'':
			word.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '$' || c == '`' || c == '\n' || c == 0:
			return nil
		case c == '\\':
			if i++; i == len(command) || command[i] == '\n' {
				return nil
			}
			word.WriteByte(command[i])
			inWord = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		case strings.IndexByte(";&|<>(){}!#=", c) >= 0: // = before the program is an assignment
			return nil
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
