package main

import (
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/signin/signintest"
)

// provider starts an identity provider that people sign in at, with its certificate in provider.pem and its address in $ISSUER, and a
// browser that opens what it is told to and asks nobody.
func provider(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: provider")
	}
	p := signintest.Start(clock.System{}, true)
	p.Interval(1)
	ts.Defer(p.Close)
	ts.Setenv("ISSUER", p.Issuer)
	local := ts.Value("local").(*local)
	local.provider = p
	ts.Check(os.WriteFile(ts.MkAbs("provider.pem"), []byte(p.CA), 0o600))
	ts.Check(os.MkdirAll(ts.MkAbs("bin"), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs("bin/xdg-open"), []byte("#!/bin/sh\nexec curl -sLk -o /dev/null \"$1\"\n"), 0o700))
	ts.Setenv("PATH", ts.MkAbs("bin")+string(os.PathListSeparator)+ts.Getenv("PATH"))
	ts.Setenv("DISPLAY", ":0")
}

// sits SUBJECT NAME GROUP... says who sits at the browser from now on.
func sits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sits SUBJECT NAME GROUP...")
	}
	p := ts.Value("local").(*local).provider
	if args[1] == "refuses" {
		p.Person(signintest.Claims{"error": "access_denied", "error_description": strings.Join(args[2:], " ")})
		return
	}
	p.Person(signintest.Claims{"sub": args[0], "preferred_username": args[1], "groups": args[2:]})
}

// embed FILE INTO puts the lines of a file, set in, at the end of another.
func embed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: embed FILE INTO")
	}
	text := ts.ReadFile(args[1])
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		text += "    " + line
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// edit PATTERN TEXT FILE puts a text in the place of what fits a regular expression; the file is its owner's alone.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit PATTERN TEXT FILE")
	}
	text := regexp.MustCompile(args[0]).ReplaceAllString(ts.ReadFile(args[2]), args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(text), 0o600))
}
