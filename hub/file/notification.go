package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// NotificationType is the content type of a notification's JSON (IoT Hub: read file upload notifications).
const NotificationType = "application/vnd.microsoft.iothub.filenotification.json"

// Notification is news of a file, which its receiver has until the lock ends.
type Notification struct {
	Device     string
	BlobURI    string
	BlobName   string    // with the device's id in front
	Updated    time.Time // the blob
	Size       int64     // bytes
	Enqueued   time.Time
	Deliveries int    // this one counted
	Lock       string // a UUID
	Sequence   int64
}

// MarshalJSON writes it as services read it.
func (n Notification) MarshalJSON() ([]byte, error) {
	const layout = "2006-01-02T15:04:05.0000000Z"
	return json.Marshal(struct {
		DeviceID        string `json:"deviceId"`
		BlobURI         string `json:"blobUri"`
		BlobName        string `json:"blobName"`
		LastUpdatedTime string `json:"lastUpdatedTime"`
		BlobSizeInBytes int64  `json:"blobSizeInBytes"`
		EnqueuedTimeUTC string `json:"enqueuedTimeUtc"`
	}{n.Device, n.BlobURI, n.BlobName, n.Updated.UTC().Format(layout), n.Size, n.Enqueued.UTC().Format(layout)})
}

// Receive returns the oldest notification that nobody has, and gives it to the caller for some time, the hub's setting when lock is 0; nil
// when none waits.
func (s *Service) Receive(ctx context.Context, h *hub.Hub, lock time.Duration) (*Notification, error) {
	set, err := s.Settings(ctx, h)
	if err != nil {
		return nil, err
	}
	if lock <= 0 {
		lock = time.Duration(set.LockSeconds) * time.Second
	}
	token := newLock()
	var n hubstore.FileNotification
	var ok bool
	var worn []string
	err = s.store.Together(ctx, func(tx *hubstore.Tx) error {
		now := s.clock.Now()
		worn = nil
		for {
			var err error
			if n, ok, err = tx.LockFileNotification(h.ID(), token, now, now.Add(lock)); err != nil || !ok || n.Deliveries <= set.MaxDeliveries {
				return err
			}
			worn = append(worn, n.BlobName)
			if err := tx.DropFileNotification(h.ID(), n.Sequence); err != nil {
				return err
			}
		}
	}, nil)
	for _, name := range worn {
		s.log.Warn("files: a notification was given out too often and never completed; it is dropped", "hub", h.Name(), "blob", name, "deliveries", set.MaxDeliveries)
	}
	if err != nil || !ok {
		return nil, err
	}
	return &Notification{n.Device, n.BlobURI, n.BlobName, n.Updated, n.Size, n.Enqueued, n.Deliveries, token, n.Sequence}, nil
}

// Complete ends a notification. Precondition, with code 412002, when the lock is not good any more.
func (s *Service) Complete(ctx context.Context, h *hub.Hub, lock string) error {
	return s.settle(ctx, "file.Complete", func(tx *hubstore.Tx) error { return tx.CompleteFileNotification(h.ID(), lock, s.clock.Now()) })
}

// Abandon gives a notification back, for the next who asks. Precondition, with code 412002, when the lock is not good any more.
func (s *Service) Abandon(ctx context.Context, h *hub.Hub, lock string) error {
	err := s.settle(ctx, "file.Abandon", func(tx *hubstore.Tx) error { return tx.AbandonFileNotification(h.ID(), lock, s.clock.Now()) })
	if err == nil {
		s.tell(h)
	}
	return err
}

func (s *Service) settle(ctx context.Context, op string, fn func(tx *hubstore.Tx) error) error {
	err := s.store.Together(ctx, fn, nil)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return code.With(fault.New(op, fault.Precondition, "the lock is not good any more: its time is over, or the notification was completed").
			Advise("receive again").Because(err), code.MessageLockLost)
	}
	return err
}

// Waiting tells how many notifications a hub has, those which somebody has now among them.
func (s *Service) Waiting(ctx context.Context, h *hub.Hub) (int, error) {
	return s.store.CountFileNotifications(ctx, h.ID())
}

// Arrived returns a channel that is closed when a notification is queued, or given back, next. Locks that end are not told of.
func (s *Service) Arrived(h *hub.Hub) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.arrived[h.ID()]
	if c == nil {
		c = make(chan struct{})
		s.arrived[h.ID()] = c
	}
	return c
}

func (s *Service) tell(h *hub.Hub) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.arrived[h.ID()]; c != nil {
		close(c)
		delete(s.arrived, h.ID())
	}
}

// newLock makes a UUID of version 4.
func newLock() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	t := hex.EncodeToString(b)
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}
