package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// question is a request; which fields count depends on Do.
type question struct {
	ID int
	Do string

	Client     string // the test's name of a client
	Kind       string // producer, consumer
	Connection string // a connection string, or, with Token, Namespace and Hub
	Namespace  string
	Hub        string
	Token      string
	TokenFor   int // milliseconds
	Group      string
	Endpoint   string // host:port to dial instead of the namespace
	WebSocket  string // wss:// address to dial instead of what the SDK asks for
	Identifier string
	Retries    int
	RetryDelay int // milliseconds
	CA         string

	Partition *string
	Key       *string
	Events    []outgoing
	Count     int
	Size      int
	AtOnce    int
	Prefix    string

	Reader   string
	Position *position
	Epoch    *int64
	Prefetch int32
	Wait     int // milliseconds
	Brief    bool

	Container  string // of checkpoints, with its SAS
	Strategy   string
	Update     int // milliseconds
	Expiration int // milliseconds
	Checkpoint bool
}

type answer map[string]any

// failure is an error as the test sees it.
type failure struct {
	Name      string `json:"name"`
	Code      string `json:"code"`
	Condition string `json:"condition"`
	Message   string `json:"message"`
}

func failed(err error) failure {
	f := failure{Name: fmt.Sprintf("%T", err), Message: err.Error()}
	var own *azeventhubs.Error
	if errors.As(err, &own) {
		f.Code = string(own.Code)
	}
	var condition *amqp.Error
	if errors.As(err, &condition) {
		f.Condition = string(condition.Condition)
	}
	return f
}

// driver has what the test made.
type driver struct {
	mu         sync.Mutex // guards the maps
	producers  map[string]*azeventhubs.ProducerClient
	consumers  map[string]*azeventhubs.ConsumerClient
	readers    map[string]*azeventhubs.PartitionClient
	processors map[string]*processor
	loads      map[string]*load
}

func main() {
	d := &driver{
		producers: map[string]*azeventhubs.ProducerClient{}, consumers: map[string]*azeventhubs.ConsumerClient{}, readers: map[string]*azeventhubs.PartitionClient{},
		processors: map[string]*processor{}, loads: map[string]*load{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out, lock := json.NewEncoder(os.Stdout), sync.Mutex{}
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		go func() {
			a, err := d.answer(ctx, q)
			if a == nil {
				a = answer{}
			}
			if err != nil {
				a["error"] = failed(err)
			}
			a["id"] = q.ID
			lock.Lock()
			defer lock.Unlock()
			if err := out.Encode(a); err != nil {
				os.Exit(1)
			}
		}()
	}
}

func (d *driver) answer(ctx context.Context, q question) (answer, error) {
	do, ok := map[string]func(context.Context, question) (answer, error){
		"open": d.open, "close": d.close, "hub": d.hub, "partition": d.partition, "send": d.send, "pour": d.pour, "load": d.load, "loaded": d.loaded, "rest": d.rest,
		"read": d.read, "receive": d.receive, "stop": d.stop, "claimed": d.claimed,
	}[q.Do]
	if !ok {
		return nil, fmt.Errorf("this driver cannot %q", q.Do)
	}
	return do(ctx, q)
}

// known looks up what the test made before.
func known[T any](d *driver, of map[string]T, name string) (T, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := of[name]
	if !ok {
		return v, fmt.Errorf("there is no %T called %q", v, name)
	}
	return v, nil
}

func keep[T any](d *driver, in map[string]T, name string, v T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in[name] = v
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
