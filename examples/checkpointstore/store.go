package checkpointstore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

const (
	tokenLife = time.Hour
	maxAnswer = 16 << 20
)

// Options change how a namespace is reached.
type Options struct {
	URL    string       // https://{namespace} when empty
	Client *http.Client // http.DefaultClient when nil
}

// Store implements azeventhubs.CheckpointStore.
type Store struct {
	host, policy, key string
	url               string
	client            *http.Client
}

var _ azeventhubs.CheckpointStore = (*Store)(nil)

// New returns a store for the namespace of a connection string. Nothing is dialled yet.
func New(connectionString string, o *Options) (*Store, error) {
	c, err := azeventhubs.ParseConnectionString(connectionString)
	if err != nil {
		return nil, err
	}
	if c.SharedAccessKeyName == nil || c.SharedAccessKey == nil {
		return nil, errors.New("checkpointstore: the connection string names no policy")
	}
	host, _, _ := strings.Cut(c.FullyQualifiedNamespace, ":")
	s := &Store{host: host, policy: *c.SharedAccessKeyName, key: *c.SharedAccessKey, url: "https://" + host, client: http.DefaultClient}
	if o != nil && o.URL != "" {
		s.url = strings.TrimSuffix(o.URL, "/")
	}
	if o != nil && o.Client != nil {
		s.client = o.Client
	}
	return s, nil
}

type ownershipJSON struct {
	Partition int       `json:"partition"`
	Owner     string    `json:"owner"`
	ETag      string    `json:"etag"`
	Modified  time.Time `json:"modified"`
}

func (o ownershipJSON) of(namespace, eventHub, group string) azeventhubs.Ownership {
	tag := azcore.ETag(o.ETag)
	return azeventhubs.Ownership{
		FullyQualifiedNamespace: namespace, EventHubName: eventHub, ConsumerGroup: group, PartitionID: strconv.Itoa(o.Partition),
		OwnerID: o.Owner, LastModifiedTime: o.Modified, ETag: &tag,
	}
}

// ListOwnership lists who owns the partitions.
func (s *Store) ListOwnership(ctx context.Context, namespace, eventHub, group string, _ *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	var list []ownershipJSON
	if err := s.ask(ctx, http.MethodGet, eventHub, group, "ownerships", nil, "", &list); err != nil {
		return nil, err
	}
	var out []azeventhubs.Ownership
	for _, o := range list {
		out = append(out, o.of(namespace, eventHub, group))
	}
	return out, nil
}

// ClaimOwnership returns those that were claimed: who lost the race to another processor is left out.
func (s *Store) ClaimOwnership(ctx context.Context, wanted []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	var out []azeventhubs.Ownership
	for _, w := range wanted {
		tag := ""
		if w.ETag != nil {
			tag = string(*w.ETag)
		}
		var o ownershipJSON
		err := s.ask(ctx, http.MethodPut, w.EventHubName, w.ConsumerGroup, "ownerships/"+url.PathEscape(w.PartitionID), map[string]string{"owner": w.OwnerID}, tag, &o)
		if errors.Is(err, errLost) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, o.of(w.FullyQualifiedNamespace, w.EventHubName, w.ConsumerGroup))
	}
	return out, nil
}

type checkpointJSON struct {
	Partition int    `json:"partition"`
	Sequence  int64  `json:"sequenceNumber"`
	Offset    string `json:"offset"`
}

// ListCheckpoints lists how far the consumer group has come.
func (s *Store) ListCheckpoints(ctx context.Context, namespace, eventHub, group string, _ *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	var list []checkpointJSON
	if err := s.ask(ctx, http.MethodGet, eventHub, group, "checkpoints", nil, "", &list); err != nil {
		return nil, err
	}
	var out []azeventhubs.Checkpoint
	for _, c := range list {
		out = append(out, azeventhubs.Checkpoint{
			FullyQualifiedNamespace: namespace, EventHubName: eventHub, ConsumerGroup: group, PartitionID: strconv.Itoa(c.Partition), Offset: &c.Offset, SequenceNumber: &c.Sequence,
		})
	}
	return out, nil
}

// SetCheckpoint writes down how far it has come in one partition.
func (s *Store) SetCheckpoint(ctx context.Context, c azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	if c.SequenceNumber == nil {
		return errors.New("checkpointstore: a checkpoint needs a sequence number")
	}
	body := map[string]any{"sequenceNumber": *c.SequenceNumber}
	if c.Offset != nil {
		body["offset"] = *c.Offset
	}
	return s.ask(ctx, http.MethodPut, c.EventHubName, c.ConsumerGroup, "checkpoints/"+url.PathEscape(c.PartitionID), body, "", nil)
}

var errLost = errors.New("checkpointstore: somebody was quicker")

func (s *Store) ask(ctx context.Context, method, eventHub, group, what string, in any, etag string, out any) error {
	address := s.url + "/isthmus/v1/eventhubs/" + url.PathEscape(eventHub) + "/consumergroups/" + url.PathEscape(group) + "/" + what
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return err
	}
	r.Host = s.host
	r.Header.Set("Authorization", s.token(eventHub))
	r.Header.Set("Content-Type", "application/json")
	if etag != "" {
		r.Header.Set("If-Match", etag)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusPreconditionFailed:
		return errLost
	case resp.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("checkpointstore: %s %s: %s: %s", method, address, resp.Status, answer)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}

// token signs for one event hub, so that a policy of that one is enough. The key is the bytes of its text.
func (s *Store) token(eventHub string) string {
	resource := url.QueryEscape("sb://" + s.host + "/" + eventHub)
	expires := strconv.FormatInt(time.Now().Add(tokenLife).Unix(), 10)
	m := hmac.New(sha256.New, []byte(s.key))
	m.Write([]byte(resource + "\n" + expires))
	return "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil))) + "&se=" + expires + "&skn=" + url.QueryEscape(s.policy)
}
