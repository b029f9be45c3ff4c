package hubstore_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestModulesComeAndGoWithTheirDevice(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		module := device("a")
		module.Module, module.ManagedBy = "m", "somebody"
		write := func(fn func(tx *hubstore.Tx) error) error { return s.Write(ctx, fn) }
		if err := write(func(tx *hubstore.Tx) error { return tx.Insert(module) }); fault.KindOf(err) != fault.NotFound {
			t.Errorf("a module without its device: %v", err)
		}
		if err := write(func(tx *hubstore.Tx) error {
			for _, d := range []hubstore.Device{device("a"), module, device("ab")} {
				if err := tx.Insert(d); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Modules(ctx, "h1", "a"); err != nil || len(got) != 1 || got[0] != module {
			t.Errorf("modules %+v, %v", got, err)
		}
		if got, err := s.Devices(ctx, "h1", "", 10); err != nil || len(got) != 2 {
			t.Errorf("a module counts as a device: %+v, %v", got, err)
		}
		if total, _, err := s.Count(ctx, "h1"); total != 2 || err != nil {
			t.Errorf("count %d, %v", total, err)
		}
		if err := write(func(tx *hubstore.Tx) error { return tx.Delete("h1", hubstore.Name{Device: "a"}) }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Device(ctx, "h1", module.Name()); fault.KindOf(err) != fault.NotFound {
			t.Errorf("the module outlived its device: %v", err)
		}
		if _, err := s.Device(ctx, "h1", hubstore.Name{Device: "ab"}); err != nil {
			t.Errorf("another device went with it: %v", err)
		}
	})
}

func TestAuthoritiesAndSettings(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		now := device("a").Created
		a := hubstore.Authority{Hub: "h1", Name: "root", ETag: "e", Certificate: "pem", Thumbprint: "aa", Verified: true, Created: now, Updated: now}
		if err := s.Write(ctx, func(tx *hubstore.Tx) error {
			first := a
			first.Verified, first.Code = false, "code"
			if err := tx.SetAuthority(first); err != nil {
				return err
			}
			if err := tx.SetAuthority(a); err != nil {
				return err
			}
			return tx.SetSetting("h1", "limits", []byte(`{"a":1}`))
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Authorities(ctx, "h1"); err != nil || len(got) != 1 || got[0] != a {
			t.Errorf("authorities %+v, %v", got, err)
		}
		if got, err := s.Setting(ctx, "h1", "limits"); err != nil || string(got) != `{"a":1}` {
			t.Errorf("setting %q, %v", got, err)
		}
		err := s.Write(ctx, func(tx *hubstore.Tx) error {
			if err := tx.SetSetting("h1", "limits", nil); err != nil {
				return err
			}
			if err := tx.DeleteAuthority("h1", "root"); err != nil {
				return err
			}
			return tx.DeleteAuthority("h1", "root")
		})
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("deleted twice: %v", err)
		}
		if got, err := s.Setting(ctx, "h2", "limits"); err != nil || got != nil {
			t.Errorf("another hub's setting %q, %v", got, err)
		}
	})
}
