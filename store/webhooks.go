package store

import (
	"strings"
	"time"
)

// Webhook is an address that is told of events. Where it is, and the secret that deliveries are signed with, are sealed.
type Webhook struct {
	ID, Tenant string
	Shown      string // its address, without what may be a secret
	Events     []string
	Sealed     []byte
	Created    time.Time
	MadeBy     string
	State      string // what became of the last delivery, in words
	Waiting    int    // deliveries
}

const webhookColumns = "id, tenant, shown, events, sealed, created, made_by, state, (SELECT COUNT(*) FROM deliveries WHERE webhook = webhooks.id)"

// AddWebhook keeps a new webhook.
func (tx *Tx) AddWebhook(h Webhook) error {
	_, err := tx.sql.Exec("INSERT INTO webhooks (id, tenant, shown, events, sealed, created, made_by, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		h.ID, h.Tenant, h.Shown, strings.Join(h.Events, " "), h.Sealed, nanos(h.Created), h.MadeBy, h.State)
	return err
}

// Webhook returns a webhook; ok is false when there is none.
func (tx *Tx) Webhook(id string) (h Webhook, ok bool, err error) {
	if !isText(id) {
		return Webhook{}, false, nil
	}
	list, err := tx.webhooks("id = ?", id)
	if err != nil || len(list) == 0 {
		return Webhook{}, false, err
	}
	return list[0], true, nil
}

// Webhooks returns those of a tenant, the oldest first; of every tenant when it is empty.
func (tx *Tx) Webhooks(tenant string) ([]Webhook, error) {
	if tenant == "" {
		return tx.webhooks("id <> '' ORDER BY tenant, created, id")
	}
	return tx.webhooks("tenant = ? ORDER BY created, id", tenant)
}

// SetWebhookState notes what became of a delivery.
func (tx *Tx) SetWebhookState(id, words string) error {
	_, err := tx.sql.Exec("UPDATE webhooks SET state = ? WHERE id = ?", words, id)
	return err
}

// RemoveWebhook forgets a webhook and what waits for it.
func (tx *Tx) RemoveWebhook(id string) error {
	_, err := tx.sql.Exec("DELETE FROM webhooks WHERE id = ?", id)
	return err
}

func (tx *Tx) webhooks(where string, args ...any) ([]Webhook, error) {
	var out []Webhook
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var h Webhook
		var events string
		var created int64
		err := scan(&h.ID, &h.Tenant, &h.Shown, &events, &h.Sealed, &created, &h.MadeBy, &h.State, &h.Waiting)
		h.Events, h.Created = strings.Fields(events), moment(created)
		out = append(out, h)
		return err
	}, "SELECT "+webhookColumns+" FROM webhooks WHERE "+where, args...)
	return out, err
}

// Delivery is an event on its way to a webhook.
type Delivery struct {
	ID, Webhook  string
	Body         string
	Created, Due time.Time
	Attempts     int // those begun
}

const deliveryColumns = "id, webhook, body, created, due, attempts"

// AddDelivery keeps a new delivery. Of more than most for one webhook the oldest go.
func (tx *Tx) AddDelivery(d Delivery, most int) error {
	if _, err := tx.sql.Exec("INSERT INTO deliveries ("+deliveryColumns+") VALUES (?, ?, ?, ?, ?, ?)", d.ID, d.Webhook, d.Body, nanos(d.Created), nanos(d.Due), d.Attempts); err != nil {
		return err
	}
	_, err := tx.sql.Exec("DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE webhook = ? ORDER BY created DESC, id LIMIT 1000000 OFFSET ?)", d.Webhook, most)
	return err
}

// DueDeliveries returns the earliest delivery of each webhook that has one due, the earliest first.
func (tx *Tx) DueDeliveries(now time.Time, limit int) ([]Delivery, error) {
	return tx.deliveries(`due <= ? AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier WHERE earlier.webhook = deliveries.webhook
		AND (earlier.due < deliveries.due OR earlier.due = deliveries.due AND earlier.id < deliveries.id)) ORDER BY due, id LIMIT ?`, nanos(now), limit)
}

// TakeDelivery lets one of several processes try a delivery: ok is false when another took it. Until the moment nobody else does.
func (tx *Tx) TakeDelivery(d Delivery, until time.Time) (ok bool, err error) {
	n, err := tx.sql.Exec("UPDATE deliveries SET due = ?, attempts = attempts + 1 WHERE id = ? AND due = ?", nanos(until), d.ID, nanos(d.Due))
	return n == 1, err
}

// PutOff has a delivery tried again at a moment, and no other of its webhook before.
func (tx *Tx) PutOff(d Delivery, until time.Time) error {
	if _, err := tx.sql.Exec("UPDATE deliveries SET due = ? WHERE webhook = ? AND due < ?", nanos(until), d.Webhook, nanos(until)); err != nil {
		return err
	}
	_, err := tx.sql.Exec("UPDATE deliveries SET due = ? WHERE id = ?", nanos(until), d.ID)
	return err
}

// RemoveDelivery forgets a delivery: it arrived, or never will.
func (tx *Tx) RemoveDelivery(id string) error {
	_, err := tx.sql.Exec("DELETE FROM deliveries WHERE id = ?", id)
	return err
}

// NextDelivery returns when the next delivery is due; ok is false when none waits.
func (tx *Tx) NextDelivery() (due time.Time, ok bool, err error) {
	var at int64
	ok, err = tx.sql.Row([]any{&at}, "SELECT due FROM deliveries ORDER BY due LIMIT 1")
	return moment(at), ok, err
}

func (tx *Tx) deliveries(where string, args ...any) ([]Delivery, error) {
	var out []Delivery
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var d Delivery
		var created, due int64
		err := scan(&d.ID, &d.Webhook, &d.Body, &created, &due, &d.Attempts)
		d.Created, d.Due = moment(created), moment(due)
		out = append(out, d)
		return err
	}, "SELECT "+deliveryColumns+" FROM deliveries WHERE "+where, args...)
	return out, err
}
