package cbs

import "github.com/isthmus-io/isthmus/wire/amqp"

// read takes a request apart. A result with a code is the answer already.
func read(m *amqp.Message) (Token, Result) {
	switch text(m.ApplicationProperties.Get("operation")) {
	case "put-token":
	case "delete-token":
		return Token{}, Result{501, "A claim ends with its token, or with the connection.", amqp.ConditionNotImplemented}
	default:
		return Token{}, wrong("The operation of a request to $cbs is put-token.")
	}
	t := Token{Kind: text(m.ApplicationProperties.Get("type")), Audience: text(m.ApplicationProperties.Get("name")), Text: text(m.Value)}
	switch {
	case t.Audience == "":
		return t, wrong("The application property name says what the token is for.")
	case t.Text == "":
		return t, wrong("The body is the token: an amqp-value with a string.")
	}
	return t, Result{}
}

func wrong(words string) Result { return Result{400, words, amqp.ConditionInvalidField} }

// text reads what clients write as one type or another.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case amqp.Symbol:
		return string(v)
	case []byte:
		return string(v)
	}
	return ""
}

func answer(r Result) *amqp.Message {
	m := &amqp.Message{
		ApplicationProperties: amqp.Map{{Key: "status-code", Value: r.Code}, {Key: "status-description", Value: r.Description}},
		HasValue:              true, // null: some clients read no message without a body
	}
	if r.Condition != "" {
		m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: "error-condition", Value: r.Condition})
	}
	return m
}
