package main

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// propertiesFrom makes the properties section; the names are those of the SDK of Node.js.
func propertiesFrom(m map[string]map[string]any) (*azeventhubs.AMQPAnnotatedMessageProperties, error) {
	v, err := plainEach(m)
	if err != nil || len(v) == 0 {
		return nil, err
	}
	out := &azeventhubs.AMQPAnnotatedMessageProperties{MessageID: v["messageId"], CorrelationID: v["correlationId"]}
	for name, field := range texts(out) {
		if text, ok := v[name].(string); ok {
			*field = &text
		}
	}
	for name, field := range times(out) {
		if at, ok := v[name].(time.Time); ok {
			*field = &at
		}
	}
	out.UserID, _ = v["userId"].([]byte)
	if n, ok := v["groupSequence"].(uint32); ok {
		out.GroupSequence = &n
	}
	return out, nil
}

// propertiesOf tells what is in a properties section.
func propertiesOf(p *azeventhubs.AMQPAnnotatedMessageProperties) map[string]map[string]any {
	if p == nil {
		return nil
	}
	v := map[string]any{}
	for name, id := range map[string]any{"messageId": p.MessageID, "correlationId": p.CorrelationID} {
		if id != nil {
			v[name] = id
		}
	}
	for name, field := range texts(p) {
		if *field != nil {
			v[name] = **field
		}
	}
	for name, field := range times(p) {
		if *field != nil {
			v[name] = **field
		}
	}
	if p.UserID != nil {
		v["userId"] = p.UserID
	}
	if p.GroupSequence != nil {
		v["groupSequence"] = *p.GroupSequence
	}
	return typedEach(v)
}

func texts(p *azeventhubs.AMQPAnnotatedMessageProperties) map[string]**string {
	return map[string]**string{
		"to": &p.To, "subject": &p.Subject, "replyTo": &p.ReplyTo, "contentType": &p.ContentType, "contentEncoding": &p.ContentEncoding, "groupId": &p.GroupID,
		"replyToGroupId": &p.ReplyToGroupID,
	}
}

func times(p *azeventhubs.AMQPAnnotatedMessageProperties) map[string]**time.Time {
	return map[string]**time.Time{"absoluteExpiryTime": &p.AbsoluteExpiryTime, "creationTime": &p.CreationTime}
}
