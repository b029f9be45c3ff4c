package file

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Container is the container of all files from devices, and the first step of their URLs' paths.
const Container = "uploads"

// Config says where files are kept and what one device may do. Blobs.Dir must be given; every other field's zero value works.
type Config struct {
	Blobs            blob.Config
	MaxOpen          int // uploads of one device at a time; 10
	MaxNotifications int // of one hub that nobody completed; the oldest make room; 100,000
}

const sweepEach = time.Minute

// Service is the files of all hubs of a process.
type Service struct {
	cfg     Config
	server  *hub.Server
	store   *hubstore.Store
	blobs   *blob.Store
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics

	mu      sync.Mutex // guards the fields below
	keys    map[string][]byte
	arrived map[string]chan struct{} // by hub; closed, and made anew, when a notification was queued
}

// New opens the store of blobs. reg may be nil. Faults: those of blob.Open.
func New(ctx context.Context, cfg Config, server *hub.Server, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Service, error) {
	if cfg.MaxOpen <= 0 {
		cfg.MaxOpen = 10 // IoT Hub: quotas, file uploads
	}
	if cfg.MaxNotifications <= 0 {
		cfg.MaxNotifications = 100_000
	}
	blobs, err := blob.Open(ctx, cfg.Blobs, log)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, server: server, store: server.Store(), blobs: blobs, log: log, clock: clk,
		keys: map[string][]byte{}, arrived: map[string]chan struct{}{},
	}
	s.metrics = newMetrics(reg, blobs)
	return s, nil
}

// Close lets go of the store of blobs. Call it after Run and the doors have returned.
func (s *Service) Close() error { return s.blobs.Close() }

// Blobs is the store of blobs, for the door that serves them.
func (s *Service) Blobs() *blob.Store { return s.blobs }

// Run takes away expired uploads with what waits for them, and notifications nobody wanted, until ctx ends; then it returns nil.
func (s *Service) Run(ctx context.Context) error {
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("files: what is over could not be taken away; it will be tried again", "err", err)
		}
		tick, stop := s.clock.After(sweepEach)
		select {
		case <-tick:
		case <-ctx.Done():
			stop()
			return nil
		}
	}
}

func (s *Service) sweep(ctx context.Context) error {
	now := s.clock.Now()
	waiting := s.blobs.Waiting() // first: an upload is in the store before anything waits for it
	var uploads, notifications int64
	err := s.store.Write(ctx, func(tx *hubstore.Tx) (err error) {
		if uploads, err = tx.ExpireUploads(now); err != nil {
			return err
		}
		notifications, err = tx.ExpireFileNotifications(now)
		return err
	})
	if err != nil {
		return err
	}
	s.metrics.uploads.WithLabelValues("expired").Add(float64(uploads))
	if uploads > 0 || notifications > 0 {
		s.log.Info("files: expired", "uploads", uploads, "notifications", notifications)
	}
	var errs []error
	for _, u := range waiting {
		_, err := s.store.Upload(ctx, u.Hub, u.ID)
		if fault.KindOf(err) == fault.NotFound && err != nil {
			err = s.blobs.Forget(u)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// key returns the key with which a hub's links are signed; it is made once.
func (s *Service) key(ctx context.Context, h *hub.Hub) ([]byte, error) {
	s.mu.Lock()
	k := s.keys[h.ID()]
	s.mu.Unlock()
	if k != nil {
		return k, nil
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh)                                           // never fails
	text, _ := json.Marshal(base64.StdEncoding.EncodeToString(fresh)) // a string cannot fail
	text, err := s.store.EnsureSetting(ctx, h.ID(), keySetting, text)
	if err != nil {
		return nil, err
	}
	var kept string
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fault.Wrap("file.key", fault.Internal, err, "")
	}
	if k, err = base64.StdEncoding.DecodeString(kept); err != nil || len(k) < 16 {
		return nil, fault.New("file.key", fault.Internal, "the key of the hub's links is damaged").Because(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[h.ID()] = k
	return k, nil
}

// Names of this room's settings in the store.
const (
	keySetting      = "files.key"
	settingsSetting = "files"
)
