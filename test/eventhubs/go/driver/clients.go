package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"
)

// token is a credential that comes from elsewhere.
type token struct {
	text string
	life time.Duration
}

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: t.text, ExpiresOn: time.Now().Add(t.life)}, nil
}

// trust is the TLS configuration for an authority's certificate in a file; nil without one.
func trust(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

func (d *driver) open(_ context.Context, q question) (answer, error) {
	trusted, err := trust(q.CA)
	if err != nil {
		return nil, err
	}
	secure := trusted // of what the SDK itself dials
	var dial func(context.Context, azeventhubs.WebSocketConnParams) (net.Conn, error)
	if q.WebSocket != "" {
		dial = func(ctx context.Context, asked azeventhubs.WebSocketConnParams) (net.Conn, error) {
			if asked.Host != "wss://"+q.Namespace+"/$servicebus/websocket" {
				return nil, fmt.Errorf("the SDK asks for %s", asked.Host)
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusted}}
			c, _, err := websocket.Dial(ctx, q.WebSocket, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"amqp"}}) //nolint:bodyclose // Dial does that
			if err != nil {
				return nil, err
			}
			return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
		}
		secure = nil
	}
	retry := azeventhubs.RetryOptions{MaxRetries: -1, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second}
	if q.Retries > 0 {
		retry.MaxRetries = int32(q.Retries)
	}
	if q.RetryDelay > 0 {
		retry.RetryDelay = milliseconds(q.RetryDelay)
	}
	credential := token{q.Token, milliseconds(q.TokenFor)}
	switch q.Kind {
	case "producer":
		o := &azeventhubs.ProducerClientOptions{CustomEndpoint: q.Endpoint, NewWebSocketConn: dial, RetryOptions: retry, TLSConfig: secure}
		var c *azeventhubs.ProducerClient
		if q.Token != "" {
			c, err = azeventhubs.NewProducerClient(q.Namespace, q.Hub, credential, o)
		} else {
			c, err = azeventhubs.NewProducerClientFromConnectionString(q.Connection, q.Hub, o)
		}
		if err == nil {
			keep(d, d.producers, q.Client, c)
		}
		return nil, err
	case "consumer":
		if q.Group == "" {
			q.Group = azeventhubs.DefaultConsumerGroup
		}
		o := &azeventhubs.ConsumerClientOptions{CustomEndpoint: q.Endpoint, NewWebSocketConn: dial, RetryOptions: retry, TLSConfig: secure, InstanceID: q.Identifier}
		var c *azeventhubs.ConsumerClient
		if q.Token != "" {
			c, err = azeventhubs.NewConsumerClient(q.Namespace, q.Hub, q.Group, credential, o)
		} else {
			c, err = azeventhubs.NewConsumerClientFromConnectionString(q.Connection, q.Hub, q.Group, o)
		}
		if err != nil {
			return nil, err
		}
		keep(d, d.consumers, q.Client, c)
		return answer{"identifier": c.InstanceID()}, nil
	}
	return nil, fmt.Errorf("this driver opens no %s", q.Kind)
}

func (d *driver) close(ctx context.Context, q question) (answer, error) {
	if p, err := known(d, d.producers, q.Client); err == nil {
		return nil, p.Close(ctx)
	}
	c, err := known(d, d.consumers, q.Client)
	if err != nil {
		return nil, err
	}
	return nil, c.Close(ctx)
}

func (d *driver) hub(ctx context.Context, q question) (answer, error) {
	var p azeventhubs.EventHubProperties
	c, err := known(d, d.consumers, q.Client)
	if err == nil {
		p, err = c.GetEventHubProperties(ctx, nil)
	} else if producer, unknown := known(d, d.producers, q.Client); unknown == nil {
		p, err = producer.GetEventHubProperties(ctx, nil)
	}
	if err != nil {
		return nil, err
	}
	return answer{"name": p.Name, "created": p.CreatedOn.UnixMilli(), "partitions": p.PartitionIDs, "replicated": p.GeoReplicationEnabled}, nil
}

func (d *driver) partition(ctx context.Context, q question) (answer, error) {
	var p azeventhubs.PartitionProperties
	c, err := known(d, d.consumers, q.Client)
	if err == nil {
		p, err = c.GetPartitionProperties(ctx, *q.Partition, nil)
	} else if producer, unknown := known(d, d.producers, q.Client); unknown == nil {
		p, err = producer.GetPartitionProperties(ctx, *q.Partition, nil)
	}
	if err != nil {
		return nil, err
	}
	return answer{
		"hub": p.EventHubName, "partition": p.PartitionID, "first": p.BeginningSequenceNumber, "last": p.LastEnqueuedSequenceNumber, "offset": p.LastEnqueuedOffset,
		"offsetType": "string", "time": p.LastEnqueuedOn.UnixMilli(), "empty": p.IsEmpty,
	}, nil
}
