package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/keepfile"
)

func TestACertificateForRecordedSessionsIsNotKeptForOthers(t *testing.T) {
	now := time.Now()
	_, private, err := sshca.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := sshca.Load(private)
	if err != nil {
		t.Fatal(err)
	}
	f := sshFiles{host: "press-4-ssh.plant-7.ot.isthmus", login: "service", root: t.TempDir()}
	key, err := f.ensureKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, recorded := range []bool{false, true} {
		line, err := ca.User(key, sshca.UserCertificate{ID: "ann of ot grant g", Principals: []string{"service"}, From: now, Until: now.Add(time.Hour), Recorded: recorded})
		if err != nil {
			t.Fatal(err)
		}
		given, err := json.Marshal(certified{Grant: "g", Until: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{f.certificate(): []byte(line + "\n"), f.grant(): given} {
			if err := keepfile.Write(file, content); err != nil {
				t.Fatal(err)
			}
		}
		for _, policy := range []bool{false, true} {
			if _, ok := f.good(key, dialer.PassGrant{ID: "g", Recorded: policy}, now); ok != (policy || !recorded) {
				t.Errorf("a certificate for recorded sessions (%v) is good where they are recorded (%v): %v", recorded, policy, ok)
			}
		}
	}
}
