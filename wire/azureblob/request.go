package azureblob

import (
	"encoding/xml"
	"net/url"
	"strings"
)

// Operation is what a request asks for.
type Operation uint8

const (
	Unknown Operation = iota
	PutBlob
	PutBlock
	PutBlockList
	GetBlob
	GetProperties
	GetBlockList
	DeleteBlob
)

// OperationOf tells which operation a request is, by its method and its query.
func OperationOf(method string, query url.Values) Operation {
	switch comp := strings.ToLower(query.Get("comp")); method + " " + comp {
	case "PUT ":
		return PutBlob
	case "PUT block":
		return PutBlock
	case "PUT blocklist":
		return PutBlockList
	case "GET ":
		return GetBlob
	case "HEAD ":
		return GetProperties
	case "GET blocklist":
		return GetBlockList
	case "DELETE ":
		return DeleteBlob
	}
	return Unknown
}

// Needs returns the rights of which a link needs one.
func (o Operation) Needs() Rights {
	switch o {
	case PutBlob, PutBlock, PutBlockList, GetBlockList: // the last says only what the same link may write
		return Create | Write
	case GetBlob, GetProperties:
		return Read
	case DeleteBlob:
		return Delete
	case Unknown:
	}
	return 0
}

// ParsePath takes /{container}/{blob} apart. decoded is the blob's name; literal is what stands in the path, for names that hold a percent
// sign which a client did not encode. ok is false when the path has no such form.
func ParsePath(escaped string) (container, decoded, literal string, ok bool) {
	container, literal, ok = strings.Cut(strings.TrimPrefix(escaped, "/"), "/")
	if !ok || container == "" || literal == "" {
		return "", "", "", false
	}
	plain, err := url.PathUnescape(literal)
	if err != nil {
		plain = literal
	}
	return container, plain, literal, true
}

// EscapePath writes a blob's name as it stands in a URL: everything but letters, digits, "-._~" and slashes is encoded.
func EscapePath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(p), "+", "%20")
	}
	return strings.Join(parts, "/")
}

// Error is the body of a refusal.
type Error struct {
	XMLName xml.Name `xml:"Error"`
	Code    string   `xml:"Code"`
	Message string   `xml:"Message"`
}

// RenderError writes the body of a refusal, beside which x-ms-error-code says the same code.
func RenderError(code, message string) []byte {
	var d document
	d.WriteString(`<?xml version="1.0" encoding="utf-8"?>`)
	d.open("Error")
	d.text("Code", code)
	d.text("Message", message)
	d.close("Error")
	return []byte(d.String())
}
