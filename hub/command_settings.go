package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// commandSetting is the name under which the store keeps CommandSettings.
const commandSetting = "commands"

// CommandSettings say how a hub treats cloud-to-device messages and the feedback about them (IoT Hub: cloud-to-device configuration
// options, with its defaults and bounds).
type CommandSettings struct {
	DefaultTTL         time.Duration // of a message whose sender gave no expiry: 1 min to 2 days; 1 h
	MaxDeliveryCount   int           // how often a message may come back before it is given up: 1 to 100; 10
	Lock               time.Duration // for which a message is lent over HTTPS: 5 s to 5 min; 60 s
	FeedbackTTL        time.Duration // 1 min to 2 days; 1 h
	FeedbackLock       time.Duration // 5 s to 5 min; 60 s
	FeedbackDeliveries int           // how often feedback may come back before it is given up: 1 to 100; 10
	FeedbackDelay      time.Duration // for which feedback waits for more of it, to be given together: 0 to 60 s; 15 s
}

// DefaultCommandSettings returns what holds until somebody sets something else.
func DefaultCommandSettings() CommandSettings {
	return CommandSettings{
		DefaultTTL: time.Hour, MaxDeliveryCount: 10, Lock: time.Minute,
		FeedbackTTL: time.Hour, FeedbackLock: time.Minute, FeedbackDeliveries: 10, FeedbackDelay: 15 * time.Second,
	}
}

// commandSettingsJSON is the form in which settings are stored and shown: times are in seconds.
type commandSettingsJSON struct {
	DefaultTTL         int64 `json:"defaultTtlInSeconds"`
	MaxDeliveryCount   int   `json:"maxDeliveryCount"`
	Lock               int64 `json:"lockDurationInSeconds"`
	FeedbackTTL        int64 `json:"feedbackTtlInSeconds"`
	FeedbackLock       int64 `json:"feedbackLockDurationInSeconds"`
	FeedbackDeliveries int   `json:"feedbackMaxDeliveryCount"`
	FeedbackDelay      int64 `json:"feedbackDelayInSeconds"`
}

// MarshalJSON implements json.Marshaler.
func (c CommandSettings) MarshalJSON() ([]byte, error) {
	s := func(d time.Duration) int64 { return int64(d / time.Second) }
	return json.Marshal(commandSettingsJSON{
		s(c.DefaultTTL), c.MaxDeliveryCount, s(c.Lock), s(c.FeedbackTTL), s(c.FeedbackLock), c.FeedbackDeliveries, s(c.FeedbackDelay),
	})
}

// UnmarshalJSON implements json.Unmarshaler. Names that are not there keep what they are; an unknown name is an error.
func (c *CommandSettings) UnmarshalJSON(b []byte) error {
	old, err := c.MarshalJSON()
	if err != nil {
		return err
	}
	var in commandSettingsJSON
	if err := json.Unmarshal(old, &in); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return err
	}
	s := func(n int64) time.Duration { return time.Duration(min(max(n, -1), 1e9)) * time.Second } // far beyond what Check allows
	*c = CommandSettings{s(in.DefaultTTL), in.MaxDeliveryCount, s(in.Lock), s(in.FeedbackTTL), s(in.FeedbackLock), in.FeedbackDeliveries, s(in.FeedbackDelay)}
	return nil
}

// Check tells whether every setting is within its bounds; Invalid names the one that is not.
func (c CommandSettings) Check() error {
	const day = 24 * time.Hour
	for _, d := range []struct {
		name              string
		is, least, atMost time.Duration
	}{
		{"defaultTtlInSeconds", c.DefaultTTL, time.Minute, 2 * day},
		{"lockDurationInSeconds", c.Lock, MinLock, MaxLock},
		{"feedbackTtlInSeconds", c.FeedbackTTL, time.Minute, 2 * day},
		{"feedbackLockDurationInSeconds", c.FeedbackLock, MinLock, MaxLock},
		{"feedbackDelayInSeconds", c.FeedbackDelay, 0, time.Minute},
	} {
		if d.is < d.least || d.is > d.atMost || d.is%time.Second != 0 {
			return fault.Newf("hub.CommandSettings", fault.Invalid, "%s is %g", d.name, d.is.Seconds()).
				Advise("it is a whole number from %g to %g", d.least.Seconds(), d.atMost.Seconds())
		}
	}
	if n := c.MaxDeliveryCount; n < 1 || n > 100 {
		return fault.Newf("hub.CommandSettings", fault.Invalid, "maxDeliveryCount is %d", n).Advise("it is a number from 1 to 100")
	}
	if n := c.FeedbackDeliveries; n < 1 || n > 100 {
		return fault.Newf("hub.CommandSettings", fault.Invalid, "feedbackMaxDeliveryCount is %d", n).Advise("it is a number from 1 to 100")
	}
	return nil
}

// CommandSettings returns those that hold now.
func (h *Hub) CommandSettings() CommandSettings { return *h.commands.settings.Load() }

// SetCommandSettings stores other settings; they hold at once, for what is queued already too, except for the expiry it has.
func (h *Hub) SetCommandSettings(ctx context.Context, c CommandSettings) error {
	if err := c.Check(); err != nil {
		return err
	}
	value, err := json.Marshal(c)
	if err != nil {
		return fault.Wrap("hub.SetCommandSettings", fault.Internal, err, "")
	}
	// Set by the goroutine of the commits, so that what holds is what was written last.
	return h.server.store.Together(ctx, func(tx *hubstore.Tx) error { return tx.SetSetting(h.id, commandSetting, value) },
		func() {
			h.commands.settings.Store(&c)
			h.commands.told.announce() // who waits may have to wait less
		})
}

// ChangeCommandSettings changes the settings which a text names, {"maxDeliveryCount":5}, and leaves the others. Invalid when it names
// something else or a value is out of bounds. by is who asked, for the log.
func (h *Hub) ChangeCommandSettings(ctx context.Context, text []byte, by string) (CommandSettings, error) {
	h.settling.Lock()
	defer h.settling.Unlock()
	c := h.CommandSettings()
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fault.Newf("hub.ChangeCommandSettings", fault.Invalid, "the settings cannot be read: %v", err).Advise("write them as GET shows them")
	}
	if err := h.SetCommandSettings(ctx, c); err != nil {
		return c, err
	}
	h.server.log.Info("hub: settings of messages to devices changed", "hub", h.Name(), "by", by, "settings", string(text))
	return c, nil
}

// openCommands reads the settings, and gives back what sessions of the process before this one had.
func (h *Hub) openCommands(ctx context.Context) error {
	c := DefaultCommandSettings()
	value, err := h.server.store.Setting(ctx, h.id, commandSetting)
	if err == nil && value != nil {
		if json.Unmarshal(value, &c) != nil || c.Check() != nil {
			h.server.log.Warn("hub: the settings of cloud-to-device messages cannot be used; the defaults hold", "hub", h.id, "settings", string(value))
			c = DefaultCommandSettings()
		}
	}
	h.commands.settings.Store(&c)
	if err != nil {
		return err
	}
	return h.server.store.Together(ctx, func(tx *hubstore.Tx) error { return tx.FreeCommands(h.id) }, nil)
}
