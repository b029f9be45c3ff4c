package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/registryfile"
)

func newHubExport(w *world) *cobra.Command {
	var without, force bool
	c := &cobra.Command{
		Use: "export FILE", Short: "Write all devices and modules with their twins and keys into a file", Args: cobra.ExactArgs(1),
		Long: `Write all devices and modules, with their twins and their keys, into a file: one JSON object a line, in the format of Azure's export (devices.txt), which "isthmus hub
import" and Azure's import jobs read. The file holds secrets, so it is made for its owner only, unless --exclude-keys leaves them out; who imports it then makes
new keys. - is standard output. What changes meanwhile may or may not be in it.`,
		Example: `  isthmus hub export devices.txt
  isthmus hub export - --exclude-keys | jq -r .id`,
	}
	a := toHub(w, c)
	c.Flags().BoolVar(&without, "exclude-keys", false, "leave keys out")
	c.Flags().BoolVar(&force, "force", false, "write over the file when it is there")
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		line := &liveLine{out: w.err, live: w.terminal, last: w.clock.Now()}
		defer line.end()
		all := 0
		if s, err := hub.Statistics(c.Context()); err == nil {
			all = s.Total
		}
		x := &export{hub: hub, keys: !without, tell: func(n int) {
			if line.live || line.seldom(w.clock.Now()) {
				line.show(itoa(n) + " of " + count(all, "device"))
			}
		}}
		if args[0] == "-" {
			x.out = jsonLines{w}
			return x.run(c.Context())
		}
		if err := x.into(c.Context(), args[0], force); err != nil {
			return err
		}
		line.end()
		w.printf("%s and %s written to %s\n", count(x.devices, "device"), count(x.modules, "module"), args[0])
		if !without {
			w.note("it holds their keys")
		}
		return nil
	})
	return c
}

// jsonLines prints what is written to it, a line at a time.
type jsonLines struct{ w *world }

func (j jsonLines) Write(line []byte) (int, error) {
	j.w.printJSON(bytes.TrimSuffix(line, []byte("\n")))
	return len(line), nil
}

// export is one under way.
type export struct {
	hub     *hubclient.Client
	keys    bool
	out     io.Writer
	tell    func(devices int)
	devices int
	modules int
}

// into writes a file that is there whole or not at all.
func (x *export) into(ctx context.Context, path string, force bool) (err error) {
	op := "isthmus.export"
	if _, err := os.Lstat(path); err == nil && !force {
		return fault.Newf(op, fault.Conflict, "%s is there already", path).Advise("name another file, or write over it with --force")
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.Wrap(op, fault.Exhausted, err, "the export cannot be written: "+err.Error())
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	if err := f.Chmod(0o600); err != nil { // it may have been there, for others
		return fault.Wrap(op, fault.Exhausted, err, "the export cannot be kept from others: "+err.Error())
	}
	lines := bufio.NewWriter(f)
	x.out = lines
	if err := x.run(ctx); err != nil {
		return err
	}
	if err = lines.Flush(); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	return fault.Wrap(op, fault.Exhausted, err, "the export cannot be written")
}

func (x *export) run(ctx context.Context) error {
	twins := follow(x.hub.FindAll(ctx, "SELECT * FROM devices"))
	defer twins.stop()
	ofModules := follow(x.hub.FindAll(ctx, "SELECT * FROM devices.modules"))
	defer ofModules.stop()
	return eachDevice(ctx, x.hub, func(d hubclient.Device) error {
		found, err := twins.of(d.ID)
		if err != nil {
			return err
		}
		if err := x.write(ctx, d, found); err != nil {
			return err
		}
		if x.devices++; x.devices%100 == 0 {
			x.tell(x.devices)
		}
		if found, err = ofModules.of(d.ID); err != nil || len(found) == 0 {
			return err
		}
		list, err := x.hub.Modules(ctx, d.ID)
		if err != nil && fault.KindOf(err) != fault.NotFound { // it went meanwhile
			return err
		}
		for _, m := range list {
			if err := x.write(ctx, m, found); err != nil {
				return err
			}
			x.modules++
		}
		return nil
	})
}

// write writes the line of an identity, whose twin may be among those found.
func (x *export) write(ctx context.Context, d hubclient.Device, found []exportTwin) error {
	var t exportTwin
	for _, f := range found {
		if f.DeviceID == d.ID && f.ModuleID == d.ModuleID {
			t = f
		}
	}
	if t.DeviceID == "" { // made after the query went by
		text, err := x.hub.TwinDocument(ctx, d.Name())
		switch {
		case err != nil && fault.KindOf(err) == fault.NotFound:
			return nil // it went meanwhile
		case err != nil:
			return err
		}
		if err := json.Unmarshal(text, &t); err != nil {
			return fault.Wrap("isthmus.export", fault.Unavailable, err, "the hub's answer is no twin")
		}
	}
	l := registryfile.Line{
		ID: d.ID, ModuleID: d.ModuleID, ETag: d.ETag, ImportMode: "create", Status: d.Status, StatusReason: d.StatusReason, TwinETag: t.ETag,
		Tags: t.Tags, Properties: &registryfile.Properties{Desired: t.Properties.Desired, Reported: t.Properties.Reported},
		DeviceScope: d.Scope, ParentScopes: d.ParentScopes, ManagedBy: d.ManagedBy,
	}
	if c := d.Capabilities; c != nil {
		l.Capabilities = &registryfile.Capabilities{IoTEdge: c.IoTEdge}
	}
	if a := d.Authentication; a != nil {
		l.Authentication = &registryfile.Authentication{Type: a.Type}
		if x.keys && a.Keys != nil {
			l.Authentication.SymmetricKey = &registryfile.Keys{Primary: orNull(a.Keys.Primary), Secondary: orNull(a.Keys.Secondary)}
		}
		if a.Thumbprints != nil && a.Thumbprints.Primary != "" { // no secret, and without them the device could not be imported
			l.Authentication.X509Thumbprint = &registryfile.Thumbprints{Primary: orNull(a.Thumbprints.Primary), Secondary: orNull(a.Thumbprints.Secondary)}
		}
	}
	return l.Write(x.out)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// exportTwin is what an export has of a twin.
type exportTwin struct {
	DeviceID   string          `json:"deviceId"`
	ModuleID   string          `json:"moduleId"`
	ETag       string          `json:"etag"`
	Tags       json.RawMessage `json:"tags"`
	Properties struct {
		Desired  json.RawMessage `json:"desired"`
		Reported json.RawMessage `json:"reported"`
	} `json:"properties"`
}

// following goes through twins beside the registry; both come by device id.
type following struct {
	next func() (json.RawMessage, error, bool)
	stop func()
	held *exportTwin
	over bool
}

func follow(list iter.Seq2[json.RawMessage, error]) *following {
	next, stop := iter.Pull2(list)
	return &following{next: next, stop: stop}
}

// of returns the twins of a device, and passes over those of devices before it.
func (f *following) of(device string) ([]exportTwin, error) {
	var out []exportTwin
	for !f.over {
		if f.held == nil {
			item, err, more := f.next()
			switch {
			case !more:
				f.over = true
				return out, nil
			case err != nil:
				return nil, err
			}
			f.held = &exportTwin{}
			if err := json.Unmarshal(item, f.held); err != nil {
				return nil, fault.Wrap("isthmus.export", fault.Unavailable, err, "the hub's answer is no twin")
			}
		}
		if f.held.DeviceID > device {
			return out, nil
		}
		if f.held.DeviceID == device {
			out = append(out, *f.held)
		}
		f.held = nil
	}
	return out, nil
}
