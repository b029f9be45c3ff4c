package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/storage/storagetest"
	"github.com/isthmus-io/isthmus/workload"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type world struct {
	*storagetest.World
	clock *clock.Fake
	t     *testing.T
}

func start(t *testing.T, o storagetest.Options) *world {
	t.Helper()
	w := &world{clock: clock.NewFake(now), t: t}
	o.Clock, o.Quiet = w.clock, true
	w.World = storagetest.Start(t, o)
	_, err := w.Account.CreateContainer(t.Context(), "ccc", nil)
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, kind fault.Kind, why storage.Reason) {
	t.Helper()
	got, _ := errors.AsType[storage.Reason](err)
	if err == nil || fault.KindOf(err) != kind || got != why {
		t.Errorf("%v, want %s because of %q", err, kind, why)
	}
}

func at(name string) storage.Ref { return storage.Ref{Container: "ccc", Name: name} }

func (w *world) put(name, content string) storage.Info {
	w.t.Helper()
	i, err := w.try(name, content, storage.Condition{})
	must(w.t, err)
	return i
}

func (w *world) try(name, content string, cond storage.Condition) (storage.Info, error) {
	return w.Account.Put(w.t.Context(), at(name), storage.Properties{}, cond, int64(len(content)), strings.NewReader(content))
}

func (w *world) read(name string) (string, error) {
	c, err := w.Account.Open(w.t.Context(), at(name), storage.Condition{})
	if err != nil {
		return "", err
	}
	r, err := c.Read(w.t.Context(), 0, c.Size)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func (w *world) reads(name, want string) {
	w.t.Helper()
	if got, err := w.read(name); err != nil || got != want {
		w.t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(want), err)
	}
}

// contents is how many contents are on the disk.
func (w *world) contents() int {
	w.t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(w.Dir, "storage", "blobs"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	must(w.t, err)
	return n
}

func large(text string) string { return strings.Repeat(text, storage.Small) }

// small and large contents replace each other, survive a restart, and leave nothing behind.
func TestContentsComeAndGo(t *testing.T) {
	w := start(t, storagetest.Options{})
	for i, content := range []string{"", "small", large("one"), large("two"), "small again", large("three")} {
		w.put("a", content)
		w.reads("a", content)
		if blobs, bytes := w.Account.Usage(); blobs != 1 || bytes != int64(len(content)) {
			t.Errorf("%d: there are %d blobs with %d bytes", i, blobs, bytes)
		}
	}
	_, err := w.Account.Copy(t.Context(), at("copy"), at("a"), "https://x/c/a", nil, storage.Condition{}, storage.Condition{})
	must(t, err)
	must(t, w.Server.Sweep(t.Context()))
	if n := w.contents(); n != 3 {
		t.Errorf("before the grace has passed there are %d contents", n)
	}
	w.clock.Advance(2 * time.Minute)
	must(t, w.Server.Sweep(t.Context()))
	if n := w.contents(); n != 1 {
		t.Errorf("then there are %d", n)
	}
	must(t, w.Account.Delete(t.Context(), at("a"), storage.Condition{}))
	w.clock.Advance(2 * time.Minute)
	must(t, w.Server.Sweep(t.Context()))
	w.reads("copy", large("three"))
	w.Restart(t)
	w.reads("copy", large("three"))
	if blobs, bytes := w.Account.Usage(); blobs != 1 || bytes != int64(len(large("three"))) {
		t.Errorf("after a restart there are %d blobs with %d bytes", blobs, bytes)
	}
	must(t, w.Account.DeleteContainer(t.Context(), "ccc", storage.Condition{}, "test"))
	w.clock.Advance(2 * time.Minute)
	must(t, w.Server.Sweep(t.Context()))
	if n := w.contents(); n != 0 {
		t.Errorf("of a container that is gone there are %d contents", n)
	}
	_, err = w.read("copy")
	refused(t, err, fault.NotFound, storage.ContainerNotFound)
}

type failing struct{ after io.Reader }

func (f failing) Read(p []byte) (int, error) {
	if n, err := f.after.Read(p); err == nil {
		return n, nil
	}
	return 0, errors.New("the line is cut")
}

// A blob is the old one until the new one is whole, also when a process dies between.
func TestHalfABlobIsNone(t *testing.T) {
	w := start(t, storagetest.Options{})
	w.put("a", large("old"))
	for _, size := range []int64{100, 20_000} {
		_, err := w.Account.Put(t.Context(), at("a"), storage.Properties{}, storage.Condition{}, size, failing{strings.NewReader("new")})
		if err == nil {
			t.Fatal("half a content is taken")
		}
		w.reads("a", large("old"))
	}
	w.clock.Advance(2 * time.Minute)
	must(t, w.Server.Sweep(t.Context()))
	if n := w.contents(); n != 1 {
		t.Errorf("there are %d contents", n)
	}
	// While a content is on its way nothing of it is swept, however long it takes.
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := w.Account.Put(context.Background(), at("slow"), storage.Properties{}, storage.Condition{}, 10_000, in)
		done <- err
	}()
	_, err := out.Write(make([]byte, 5000))
	must(t, err)
	w.clock.Advance(time.Hour)
	must(t, w.Server.Sweep(t.Context()))
	_, err = out.Write(make([]byte, 5000))
	must(t, err)
	must(t, <-done)
	w.reads("slow", string(make([]byte, 10_000)))
}

func TestConditions(t *testing.T) {
	w := start(t, storagetest.Options{})
	one := w.put("a", "1")
	w.clock.Advance(10 * time.Second)
	for name, c := range map[string]struct {
		cond        storage.Condition
		write, read storage.Reason
	}{
		"none":                {storage.Condition{}, "", ""},
		"match":               {storage.Condition{IfMatch: "mine"}, "", ""},
		"match any":           {storage.Condition{IfMatch: "*"}, "", ""},
		"match other":         {storage.Condition{IfMatch: "0x1"}, storage.ConditionNotMet, storage.ConditionNotMet},
		"none match":          {storage.Condition{IfNoneMatch: "mine"}, storage.ConditionNotMet, storage.NotModified},
		"none match other":    {storage.Condition{IfNoneMatch: "0x1"}, "", ""},
		"none match any":      {storage.Condition{IfNoneMatch: "*"}, storage.BlobAlreadyExists, storage.NotModified},
		"changed since":       {storage.Condition{ModifiedSince: now.Add(-time.Second)}, "", ""},
		"not changed since":   {storage.Condition{ModifiedSince: now}, storage.ConditionNotMet, storage.NotModified},
		"unchanged since":     {storage.Condition{UnmodifiedSince: now}, "", ""},
		"changed after":       {storage.Condition{UnmodifiedSince: now.Add(-time.Second)}, storage.ConditionNotMet, storage.ConditionNotMet},
		"etag beats the time": {storage.Condition{IfNoneMatch: "0x1", ModifiedSince: now.Add(time.Hour)}, "", ""},
		"no such lease":       {storage.Condition{Lease: "x"}, storage.LeaseNotPresent, storage.LeaseNotPresent},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tag := range []*string{&c.cond.IfMatch, &c.cond.IfNoneMatch} {
				if *tag == "mine" {
					*tag = one.ETag
				}
			}
			_, err := w.Account.Stat(t.Context(), at("a"), c.cond)
			check(t, err, c.read)
			_, err = w.try("a", "2", c.cond)
			check(t, err, c.write)
			if err == nil { // as it was
				w.clock.Advance(-10 * time.Second)
				must(t, w.Account.Delete(t.Context(), at("a"), storage.Condition{}))
				one = w.put("a", "1")
				w.clock.Advance(10 * time.Second)
			}
		})
	}
}

func check(t *testing.T, err error, why storage.Reason) {
	t.Helper()
	got, _ := errors.AsType[storage.Reason](err)
	if (err == nil) != (why == "") || got != why {
		t.Errorf("%v, want %q", err, why)
	}
}

// Of those who saw the same etag one succeeds, whatever keeps the contents.
func TestOneOfManyWriters(t *testing.T) {
	for name, bucket := range map[string]string{"disk": "", "bucket": "file"} {
		t.Run(name, func(t *testing.T) {
			o := storagetest.Options{}
			if bucket != "" {
				o.Config.Blobs = blob.Config{Bucket: "file://" + t.TempDir() + "?no_tmp_dir=true"}
			}
			w := start(t, o)
			old := w.put("a", large("x"))
			for round := range 3 {
				var won atomic.Int32
				var all sync.WaitGroup
				for i := range 8 {
					all.Go(func() {
						content := large(fmt.Sprint(i))
						if i%2 == 1 {
							content = fmt.Sprint(i)
						}
						_, err := w.try("a", content, storage.Condition{IfMatch: old.ETag})
						if err == nil {
							won.Add(1)
						} else if got, _ := errors.AsType[storage.Reason](err); got != storage.ConditionNotMet {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if won.Load() != 1 {
					t.Fatalf("round %d: %d of them", round, won.Load())
				}
				var err error
				old, err = w.Account.Stat(t.Context(), at("a"), storage.Condition{})
				must(t, err)
			}
			got, err := w.read("a")
			if must(t, err); int64(len(got)) != old.Size || strings.Trim(got, got[:1]) != "" {
				t.Errorf("the blob has %d bytes of several writers", len(got))
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	w := start(t, storagetest.Options{})
	stage := func(id, content string) {
		t.Helper()
		must(t, w.Account.Stage(t.Context(), at("b"), "", id, int64(len(content)), strings.NewReader(content)))
	}
	commit := func(list ...storage.Wanted) error {
		_, err := w.Account.Commit(t.Context(), at("b"), storage.Properties{}, storage.Condition{}, list)
		return err
	}
	stage("1", large("one"))
	stage("2", "two")
	refused(t, commit(storage.Wanted{ID: "3"}), fault.Invalid, storage.InvalidBlockList)
	refused(t, commit(storage.Wanted{ID: "1", From: storage.Committed}), fault.Invalid, storage.InvalidBlockList)
	w.Restart(t)
	must(t, commit(storage.Wanted{ID: "1"}, storage.Wanted{ID: "2"}, storage.Wanted{ID: "1", From: storage.Waiting}))
	w.reads("b", large("one")+"two"+large("one"))
	refused(t, commit(storage.Wanted{ID: "2", From: storage.Waiting}), fault.Invalid, storage.InvalidBlockList)
	stage("2", "TWO")
	must(t, commit(storage.Wanted{ID: "2"}, storage.Wanted{ID: "2", From: storage.Committed}))
	w.reads("b", "TWOtwo")
	must(t, commit())
	w.reads("b", "")
	_, _, waiting, err := w.Account.Blocks(t.Context(), at("b"), "")
	if err != nil || len(waiting) != 0 {
		t.Errorf("%v, %v", waiting, err)
	}

	// What waits ends after a week, or with its container.
	stage("9", "x")
	must(t, w.Server.Sweep(t.Context()))
	w.clock.Advance(8 * 24 * time.Hour)
	must(t, w.Server.Sweep(t.Context()))
	refused(t, commit(storage.Wanted{ID: "9"}), fault.Invalid, storage.InvalidBlockList)
	stage("9", "x")
	must(t, w.Account.DeleteContainer(t.Context(), "ccc", storage.Condition{}, "test"))
	_, err = w.Account.CreateContainer(t.Context(), "ccc", nil)
	must(t, err)
	refused(t, commit(storage.Wanted{ID: "9"}), fault.Invalid, storage.InvalidBlockList)
}

// TestLeases is the table of Lease Blob: what each action does in each state.
func TestLeases(t *testing.T) {
	w := start(t, storagetest.Options{})
	zero, ten := 0, 10
	var id string
	do := func(r storage.LeaseRequest) error {
		if r.ID == "mine" {
			r.ID = id
		}
		if r.Proposed == "mine" {
			r.Proposed = id
		}
		_, got, _, err := w.Account.Lease(t.Context(), at("l"), r, storage.Condition{})
		return err2(err, &id, got, r.Action)
	}
	acquire := storage.LeaseRequest{Action: storage.Acquire, Seconds: 15}
	states := map[string]func(){
		"available": func() {},
		"leased":    func() { must(t, do(acquire)) },
		"expired":   func() { must(t, do(acquire)); w.clock.Advance(16 * time.Second) },
		"breaking":  func() { must(t, do(acquire)); must(t, do(storage.LeaseRequest{Action: storage.Break, Break: &ten})) },
		"broken":    func() { must(t, do(acquire)); must(t, do(storage.LeaseRequest{Action: storage.Break, Break: &zero})) },
	}
	for _, c := range []struct {
		what string
		r    storage.LeaseRequest
		want map[string]storage.Reason
	}{
		{"acquire", acquire, map[string]storage.Reason{"leased": storage.LeaseTaken, "breaking": storage.LeaseTaken}},
		{"acquire as mine", storage.LeaseRequest{Action: storage.Acquire, Seconds: -1, Proposed: "mine"}, map[string]storage.Reason{"breaking": storage.LeaseBreaking}},
		{"renew", storage.LeaseRequest{Action: storage.Renew, ID: "mine"}, map[string]storage.Reason{"available": storage.LeaseOther, "breaking": storage.LeaseBroken, "broken": storage.LeaseBroken}},
		{"renew another", storage.LeaseRequest{Action: storage.Renew, ID: "other"}, map[string]storage.Reason{
			"available": storage.LeaseOther, "leased": storage.LeaseOther, "expired": storage.LeaseOther, "breaking": storage.LeaseOther, "broken": storage.LeaseOther}},
		{"change", storage.LeaseRequest{Action: storage.Change, ID: "mine", Proposed: "next"}, map[string]storage.Reason{
			"available": storage.LeaseNone, "expired": storage.LeaseNone, "breaking": storage.LeaseBeingBroken, "broken": storage.LeaseNone}},
		{"release", storage.LeaseRequest{Action: storage.Release, ID: "mine"}, map[string]storage.Reason{"available": storage.LeaseOther}},
		{"break", storage.LeaseRequest{Action: storage.Break}, map[string]storage.Reason{"available": storage.LeaseNone}},
	} {
		for state, enter := range states {
			t.Run(c.what+"/"+state, func(t *testing.T) {
				id = "none"
				w.put("l", "x")
				enter()
				if i, err := w.Account.Stat(t.Context(), at("l"), storage.Condition{}); err != nil || i.Lease.State != state {
					t.Fatalf("it is %s: %v", i.Lease.State, err)
				}
				check(t, do(c.r), c.want[state])
				w.clock.Advance(time.Minute)
				must(t, do(storage.LeaseRequest{Action: storage.Acquire, Seconds: 15, Proposed: id}))
				must(t, w.Account.Delete(t.Context(), at("l"), storage.Condition{Lease: id}))
			})
		}
	}
	for _, r := range []storage.LeaseRequest{{}, {Action: "own"}, {Action: storage.Acquire, Seconds: 14}, {Action: storage.Acquire, Seconds: 61}, {Action: storage.Renew}, {Action: storage.Change, ID: "x"}} {
		w.put("l", "x")
		if _, _, _, err := w.Account.Lease(t.Context(), at("l"), r, storage.Condition{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// Whoever has the lease may change the blob, before and after a restart, and nobody else.
	must(t, do(acquire))
	w.Restart(t)
	_, err := w.try("l", "y", storage.Condition{})
	refused(t, err, fault.Precondition, storage.LeaseMissing)
	_, err = w.try("l", "y", storage.Condition{Lease: "other"})
	refused(t, err, fault.Precondition, storage.LeaseMismatch)
	_, err = w.try("l", "y", storage.Condition{Lease: strings.ToUpper(id)})
	must(t, err)
	refused(t, w.Account.Delete(t.Context(), at("l"), storage.Condition{}), fault.Precondition, storage.LeaseMissing)
	refused(t, w.Account.Stage(t.Context(), at("l"), "", "1", 1, strings.NewReader("x")), fault.Precondition, storage.LeaseMissing)
	w.clock.Advance(time.Minute)
	must(t, w.Account.Delete(t.Context(), at("l"), storage.Condition{}))
}

// err2 keeps the id a lease has.
func err2(err error, id *string, got string, action storage.LeaseAction) error {
	if err == nil && (action == storage.Acquire || action == storage.Change) {
		*id = got
	}
	return err
}

func TestDeclaredContainers(t *testing.T) {
	w := start(t, storagetest.Options{Spec: storage.Spec{Containers: []string{"declared"}}})
	refused(t, w.Account.DeleteContainer(t.Context(), "declared", storage.Condition{}, "x"), fault.Conflict, "")
	w.Set(t, func(s *storage.Spec) { s.Containers = []string{"ccc", "other"} })
	must(t, w.Account.DeleteContainer(t.Context(), "declared", storage.Condition{}, "x"))
	refused(t, w.Account.DeleteContainer(t.Context(), "ccc", storage.Condition{}, "x"), fault.Conflict, "")
	p, err := w.Account.Containers(t.Context(), "", "", 1)
	if err != nil || len(p.Containers) != 1 || p.Containers[0].Name != "ccc" || p.Next == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err = w.Account.Containers(t.Context(), "", p.Next, 0); err != nil || len(p.Containers) != 1 || p.Containers[0].Name != "other" || p.Next != "" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, name := range []string{"", "ab", "Upper", "a--b", "-ab", "a/b", strings.Repeat("a", 64)} {
		_, err := w.Account.CreateContainer(t.Context(), name, nil)
		refused(t, err, fault.Invalid, storage.InvalidName)
	}
}

// What others can make it hold is bounded.
func TestBounds(t *testing.T) {
	w := start(t, storagetest.Options{Config: storage.Config{MaxBlobs: 3, MaxBytes: 30_000, Blobs: blob.Config{MaxBlob: 25_000}}})
	big := strings.Repeat("x", 26_000)
	_, err := w.try("a", big, storage.Condition{})
	refused(t, err, fault.TooLarge, "")
	w.put("a", big[:24_000])
	_, err = w.try("b", big[:7000], storage.Condition{})
	refused(t, err, fault.Exhausted, "")
	w.put("b", "x")
	w.put("ccc", "x")
	_, err = w.try("d", "x", storage.Condition{})
	refused(t, err, fault.Exhausted, "")
	for _, name := range []string{"", strings.Repeat("a", 1025), "a\x00", "a\n", "\xff", strings.Repeat("/", 254)} {
		_, err := w.try(name, "x", storage.Condition{})
		if fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Exhausted {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := w.read(name); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q is looked for: %v", name, err)
		}
	}
	for _, m := range []map[string]string{{"": "x"}, {"a b": "x"}, {"1a": "x"}, {"a": "x\n"}, {"a-b": "x"}, {"a": strings.Repeat("x", 8200)}} {
		if _, err := w.Account.SetMetadata(t.Context(), at("a"), m, storage.Condition{}); err == nil {
			t.Errorf("%.20v is taken", m)
		}
	}
	full := start(t, storagetest.Options{Config: storage.Config{Blobs: blob.Config{Reserve: 1 << 62}}})
	for _, content := range []string{"", large("long")} {
		_, err = full.try("a", content, storage.Condition{})
		refused(t, err, fault.Exhausted, "")
	}
}

func TestClaims(t *testing.T) {
	clk := clock.System{}
	d := workloadtest.New(t, clk)
	w := storagetest.Start(t, storagetest.Options{
		Quiet: true, Config: storage.Config{Workloads: d.Verifier},
		Spec: storage.Spec{Assignments: []plan.Assignment{workloadtest.Assign(resource.RoleBlobReader, ""), workloadtest.Assign(resource.RoleBlobContributor, "mine")}},
	})
	token := d.Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceStorage)
	c, err := w.Account.ByWorkload(token)
	must(t, err)
	if c.Workload != string(workloadtest.Bridge) || !c.Covers(storage.Object, "other", "b", storage.Read) || c.Covers(storage.Object, "other", "b", storage.Write) ||
		!c.Covers(storage.Object, "mine", "b", storage.Write) || !c.Covers(storage.Service, "", "", storage.List) || c.Covers(storage.Service, "", "", storage.Write) {
		t.Errorf("%+v", c)
	}
	for what, text := range map[string]string{
		"of another audience": d.Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceEventHubs), "nonsense": "a.b.c", "of another deployment": workloadtest.New(t, clk).Token(workloadtest.Agent, workloadtest.Bridge, workload.AudienceStorage),
	} {
		if _, err := w.Account.ByWorkload(text); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("one %s: %v", what, err)
		}
	}
	_, err = w.Account.ByWorkload(d.Token(workloadtest.Other, workloadtest.Other, "https://lake.example.com/"))
	refused(t, err, fault.Denied, storage.MayNot)
	w.Set(t, func(s *storage.Spec) { s.Assignments = nil }) // from one moment to the next
	_, err = w.Account.ByWorkload(token)
	refused(t, err, fault.Denied, storage.MayNot)

	key := w.Key(t)
	byKey := func() (storage.Claim, error) {
		return w.Account.ByKey(func(k []byte) bool { return bytes.Equal(k, key) })
	}
	c, err = byKey()
	if err != nil || !c.Covers(storage.Service, "", "", storage.Write) {
		t.Errorf("%+v, %v", c, err)
	}
	n := c.Narrow("x", "ccc", "b", storage.Object, storage.Read, now)
	if !n.Covers(storage.Object, "ccc", "b", storage.Read) || n.Covers(storage.Object, "ccc", "b2", storage.Read) || n.Covers(storage.Object, "d", "b", storage.Read) || n.Covers(storage.Container, "ccc", "", storage.Read) {
		t.Errorf("%+v", n)
	}
	w.Set(t, func(s *storage.Spec) { s.KeysOff = true })
	_, err = byKey()
	refused(t, err, fault.Denied, storage.KeysOff)
	w.Set(t, func(s *storage.Spec) { s.KeysOff = false })
	must(t, w.Account.RenewKey(t.Context(), storage.Primary, "test"))
	_, err = byKey()
	refused(t, err, fault.Unauthenticated, storage.WrongSignature)
}

func TestKeysAreKept(t *testing.T) {
	w := start(t, storagetest.Options{})
	_, second := w.Account.Keys()
	must(t, w.Account.RenewKey(t.Context(), storage.Primary, "test"))
	first, same := w.Account.Keys()
	if second != same {
		t.Error("the other key changed too")
	}
	w.Restart(t)
	if p, s := w.Account.Keys(); p != first || s != second {
		t.Error("they are others after a restart")
	}
	if err := w.Account.RenewKey(t.Context(), "third", "test"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	files, err := os.Stat(filepath.Join(w.Dir, "storage.db"))
	if must(t, err); files.Mode().Perm() != 0o600 {
		t.Errorf("others may read the keys: %v", files.Mode())
	}
}
