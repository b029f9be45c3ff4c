package store_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func TestAContractsKeyGoesWithIt(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		o, _ := resource.New(resource.KindContract)
		n := o.(*resource.Contract)
		n.Metadata = resource.Meta{Tenant: "ot", Name: "telemetry", UID: "c1", Generation: 1, CreatedAt: t0, UpdatedAt: t0}
		n.Status.Agreed = &resource.AgreedContract{Version: 1, Text: "{\"contract\": \"a \\u00e9 \",\n \"b\" :1}"}
		update(t, st, func(tx *store.Tx) error {
			if err := tx.Insert(n, ""); err != nil {
				return err
			}
			return tx.AddContractKey("c1", []byte{0, 1, 255})
		})
		update(t, st, func(tx *store.Tx) error {
			if keys, err := tx.ContractKeys(); err != nil || string(keys["c1"]) != "\x00\x01\xff" {
				t.Errorf("keys %v, %v", keys, err)
			}
			if o, err := tx.ByUID("c1"); err != nil || o.(*resource.Contract).Status.Agreed.Text != n.Status.Agreed.Text {
				t.Errorf("the text is not as it was: %+v, %v", o, err)
			}
			return tx.Remove(n.Key())
		})
		view(t, st, func(tx *store.Tx) error {
			keys, err := tx.ContractKeys()
			if len(keys) != 0 {
				t.Errorf("left behind: %v", keys)
			}
			return err
		})
	})
}
