package file

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Settings are what an administrator may choose for a hub (IoT Hub: configure file uploads).
type Settings struct {
	Notifications          bool `json:"notifications"`          // whether services are told of files; true
	GrantSeconds           int  `json:"grantSeconds"`           // how long a device has for a file; 3600, from 60 to 86400
	NotificationTTLSeconds int  `json:"notificationTtlSeconds"` // how long a notification waits for a reader; 3600, from 60 to 172800
	LockSeconds            int  `json:"lockSeconds"`            // how long a reader has one; 60, from 5 to 300
	MaxDeliveries          int  `json:"maxDeliveries"`          // how often one is given out; 100, from 1 to 100
}

func defaults() Settings {
	return Settings{Notifications: true, GrantSeconds: 3600, NotificationTTLSeconds: 3600, LockSeconds: 60, MaxDeliveries: 100}
}

func (s Settings) check() error {
	for _, f := range []struct {
		name          string
		value, lo, hi int
	}{
		{"grantSeconds", s.GrantSeconds, 60, 86_400}, {"notificationTtlSeconds", s.NotificationTTLSeconds, 60, 172_800},
		{"lockSeconds", s.LockSeconds, 5, 300}, {"maxDeliveries", s.MaxDeliveries, 1, 100},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fault.Newf("file.SetSettings", fault.Invalid, "%s is %d", f.name, f.value).Advise("give a number from %d to %d", f.lo, f.hi)
		}
	}
	return nil
}

func (s Settings) grant() time.Duration { return time.Duration(s.GrantSeconds) * time.Second }
func (s Settings) notification() time.Duration {
	return time.Duration(s.NotificationTTLSeconds) * time.Second
}

// Settings returns what holds for a hub now.
func (s *Service) Settings(ctx context.Context, h *hub.Hub) (Settings, error) {
	out := defaults()
	text, err := s.store.Setting(ctx, h.ID(), settingsSetting)
	if err != nil || text == nil {
		return out, err
	}
	if err := json.Unmarshal(text, &out); err != nil || out.check() != nil {
		s.log.Warn("files: the settings cannot be read; the defaults hold", "hub", h.Name(), "err", err)
		return defaults(), nil
	}
	return out, nil
}

// SetSettings changes those settings that are in the text, a JSON object, for good. by is who asked, for the log.
func (s *Service) SetSettings(ctx context.Context, h *hub.Hub, text []byte, by string) (Settings, error) {
	op := "file.SetSettings"
	out, err := s.Settings(ctx, h)
	if err != nil {
		return out, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return out, fault.Newf(op, fault.Invalid, "the settings of files cannot be read: %v", err).Advise("write them as GET shows them")
	}
	if err := out.check(); err != nil {
		return out, err
	}
	value, err := json.Marshal(out)
	if err != nil {
		return out, fault.Wrap(op, fault.Internal, err, "")
	}
	if err := s.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetSetting(h.ID(), settingsSetting, value) }); err != nil {
		return out, err
	}
	s.log.Info("files: settings changed", "hub", h.Name(), "by", by, "settings", string(value))
	return out, nil
}
