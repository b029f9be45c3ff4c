package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
)

const (
	sendLimit    = 10 * time.Second // for one try
	takenFor     = time.Minute      // a process that died in between keeps a delivery no longer
	givenUpAfter = 24 * time.Hour
	firstPause   = 2 * time.Second
	mostPause    = 15 * time.Minute
	sentAtOnce   = 32
	lastWords    = 2 * time.Second
	maxWaitingTo = 1000 // deliveries that one webhook may have waiting
)

// deliverWebhooks sends what waits, each webhook's one after the other and those of different ones beside each other, until the context
// ends and the last one it began is over.
func (c *Control) deliverWebhooks(ctx context.Context) {
	busy, over := map[string]bool{}, make(chan string)
	defer func() {
		for range busy {
			<-over
		}
	}()
	for {
		wait, err := c.deliverDue(ctx, busy, over)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("control: webhooks could not be looked after", "error", err)
			wait = firstPause
		}
		if c.store.Shared() && (wait < 0 || wait > takenFor) {
			wait = takenFor // what another server began and left
		}
		var due <-chan time.Time
		stop := func() {}
		if wait >= 0 {
			due, stop = c.clock.After(wait)
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-c.posted:
		case h := <-over:
			delete(busy, h)
		case <-due:
		}
		stop()
	}
}

// deliverDue begins what is due, and says how long it is until something else is; negative when there is nothing to wait for but those.
func (c *Control) deliverDue(ctx context.Context, busy map[string]bool, over chan<- string) (time.Duration, error) {
	now := c.clock.Now()
	var list []store.Delivery
	var next time.Time
	var some bool
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		if list, err = tx.DueDeliveries(now, 2*sentAtOnce); err != nil {
			return err
		}
		next, some, err = tx.NextDelivery()
		return err
	}); err != nil || !some {
		return -1, err
	}
	for _, d := range list {
		if busy[d.Webhook] || len(busy) >= sentAtOnce {
			continue
		}
		var h store.Webhook
		var mine bool
		if err := c.store.Update(ctx, func(tx *store.Tx) (err error) {
			if h, mine, err = tx.Webhook(d.Webhook); err != nil || !mine {
				return err
			}
			mine, err = tx.TakeDelivery(d, now.Add(takenFor))
			return err
		}); err != nil {
			return 0, err
		}
		if !mine {
			continue
		}
		busy[d.Webhook] = true
		d.Attempts++
		go func() {
			c.deliver(ctx, h, d)
			over <- h.ID
		}()
	}
	if wait := next.Sub(now); wait > 0 {
		return wait, nil
	}
	if len(busy) == 0 { // another server was quicker
		return firstPause, nil
	}
	return -1, nil // what is due is on its way, and tells when it is over
}

// deliver tries one delivery and notes what became of it.
func (c *Control) deliver(ctx context.Context, h store.Webhook, d store.Delivery) {
	err := c.send(ctx, h, d.ID, []byte(d.Body))
	if err != nil && ctx.Err() != nil {
		c.leaveDelivery(ctx, d)
		return
	}
	now := c.clock.Now()
	state := "delivered at " + now.UTC().Format(time.RFC3339)
	outcome := "delivered"
	again := now.Add(pauseAfter(d.Attempts))
	gone := err != nil && again.Sub(d.Created) > givenUpAfter
	switch {
	case gone:
		outcome, state = "given-up", "given up at "+now.UTC().Format(time.RFC3339)+": "+fault.Message(err)
		c.log.Warn("control: an event was not delivered to a webhook for a day and is given up", "webhook", h.ID, "tenant", h.Tenant, "address", h.Shown, "error", err)
	case err != nil:
		outcome, state = "failed", "failed at "+now.UTC().Format(time.RFC3339)+": "+fault.Message(err)
		c.log.Debug("control: an event was not delivered to a webhook", "webhook", h.ID, "tenant", h.Tenant, "attempt", d.Attempts, "error", err)
	}
	c.metrics.deliveries.WithLabelValues(outcome).Inc()
	if err := c.store.Update(ctx, func(tx *store.Tx) error {
		if serr := tx.SetWebhookState(h.ID, state); serr != nil {
			return serr
		}
		if err == nil || gone {
			return tx.RemoveDelivery(d.ID)
		}
		return tx.PutOff(d, again)
	}); err != nil && ctx.Err() == nil {
		c.log.Warn("control: what became of a webhook's delivery could not be written down; it may arrive twice", "webhook", h.ID, "error", err)
	}
}

// leaveDelivery lets the next process try at once what this one gave up because it stops.
func (c *Control) leaveDelivery(ctx context.Context, d store.Delivery) {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := c.store.Update(late, func(tx *store.Tx) error { return tx.PutOff(d, c.clock.Now()) }); err != nil {
		c.log.Debug("control: a delivery waits until it is nobody's", "webhook", d.Webhook, "error", err)
	}
}

// pauseAfter doubles from two seconds to a quarter of an hour.
func pauseAfter(attempts int) time.Duration {
	return min(firstPause<<min(max(attempts-1, 0), 20), mostPause)
}

// send posts one event. Nothing of the answer but its status is looked at, so that nobody learns from it what else answers there.
func (c *Control) send(ctx context.Context, h store.Webhook, id string, body []byte) error {
	op := "control.send"
	plain, err := c.open(webhookPurpose(h.ID, h.Tenant), h.Sealed)
	if err != nil {
		return err
	}
	var sealed sealedWebhook
	if err := json.Unmarshal(plain, &sealed); err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sealed.URL, bytes.NewReader(body))
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "isthmus-webhook/1")
	req.Header.Set(webhook.DeliveryHeader, id)
	req.Header.Set(webhook.SignatureHeader, webhook.Sign(sealed.Secret, body, c.clock.Now()))
	resp, err := c.receivers.Do(req)
	if err != nil {
		// The cause has the address, which may be a secret.
		if f, ok := errors.AsType[*fault.Error](err); ok {
			return f
		}
		if ctx.Err() != nil {
			return fault.New(op, fault.Unavailable, "the receiver did not answer in time").Advise("check that it is reached from the server within %s", sendLimit.String())
		}
		return fault.New(op, fault.Unavailable, "the receiver cannot be reached, or its certificate is not good").Advise("check the address and the receiver's certificate")
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // what it says is nobody's business
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fault.Newf(op, fault.Unavailable, "the receiver answered %d", resp.StatusCode).Advise("it has to answer 200 to 299; redirects are not followed")
	}
	return nil
}

// newReceivers is what sends to receivers: TLS, no proxy, no redirects, and only to addresses that may be sent to.
func (c *Control) newReceivers() *http.Client {
	dialer := net.Dialer{Timeout: sendLimit, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error { return c.dialPublic(address) }}
	return &http.Client{
		Timeout: sendLimit,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: sendLimit, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.cfg.WebhookRoots},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
