package resource

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// BridgeDestination is where events go: exactly one of the forms.
type BridgeDestination struct {
	Endpoint string `json:"endpoint,omitempty" doc:"the private endpoint of the same network that leads there; required for every form but disk" example:"lake"`
	Secret   string `json:"secret,omitempty" doc:"the name of a file of the agent with a connection string or credentials; the bridge's own identity when absent"`

	EventHub *EventHubDestination `json:"eventHub,omitempty" doc:"an event hub"`
	Blob     *BlobDestination     `json:"blob,omitempty" doc:"files in a container or bucket"`
	Disk     *DiskDestination     `json:"disk,omitempty" doc:"files on the agent's machine"`
	Kafka    *KafkaDestination    `json:"kafka,omitempty" doc:"a topic of Apache Kafka"`
	MQTT     *MQTTDestination     `json:"mqtt,omitempty" doc:"topics of an MQTT broker"`
	HTTP     *HTTPDestination     `json:"http,omitempty" doc:"requests with batches of events"`
}

// EventHubDestination is an event hub of the namespace that the endpoint leads to.
type EventHubDestination struct {
	Name string `json:"name" doc:"the event hub" example:"telemetry"`
	Key  string `json:"key,omitempty" doc:"Bloblang: the partition key; the device's id when absent, hashed where the contract does not let it cross"`
}

// FileFormat is how rows stand in a file.
type FileFormat string

const (
	FormatJSON    FileFormat = "json" // JSON lines; also the meaning of an absent value
	FormatCSV     FileFormat = "csv"  // RFC 4180 with a header line
	FormatParquet FileFormat = "parquet"
	FormatRaw     FileFormat = "raw" // bodies, each with a line feed behind it
)

// Files says how events become files. A file is whole or not there.
type Files struct {
	Path    string     `json:"path" doc:"where each file goes, with {yyyy} {MM} {dd} {HH} {mm} of the event's time or its window's start, {partition}, {device} and {NAME} of columns; what tells files apart is added to the name" example:"telemetry/date={yyyy}-{MM}-{dd}/hour={HH}"`
	Format  FileFormat `json:"format,omitempty" enum:"json,csv,parquet,raw" doc:"json (JSON lines) when absent"`
	Columns []Column   `json:"columns,omitempty" doc:"what a row of csv or parquet has; required for these unless rows come from a window"`

	MaxEvents  int   `json:"maxEvents,omitempty" minimum:"0" maximum:"10000000" doc:"a file is finished when it has so many rows; 100000 when absent"`
	MaxBytes   int64 `json:"maxBytes,omitempty" minimum:"0" doc:"or is about so large before compression; 64 MiB when absent"`
	MaxSeconds int   `json:"maxSeconds,omitempty" minimum:"0" maximum:"86400" doc:"or is so old; 60 when absent"`
	Compress   bool  `json:"compress,omitempty" doc:"gzip for json, csv and raw; Parquet is compressed anyhow"`
}

// ColumnType is what a column holds.
type ColumnType string

const (
	ColumnText    ColumnType = "text" // also the meaning of an absent value
	ColumnInteger ColumnType = "integer"
	ColumnNumber  ColumnType = "number"
	ColumnBoolean ColumnType = "boolean"
	ColumnTime    ColumnType = "time" // RFC 3339 in text formats, microseconds in UTC in Parquet
)

// Column is one value of each row.
type Column struct {
	Name  string     `json:"name" doc:"letters, digits and _" example:"device"`
	Value string     `json:"value,omitempty" doc:"Bloblang; the field of the same name when absent" example:"this.temperature"`
	Type  ColumnType `json:"type,omitempty" enum:"text,integer,number,boolean,time" doc:"text when absent"`
}

// BlobDestination is a container of a blob service, or a bucket of another object store.
type BlobDestination struct {
	Container string `json:"container,omitempty" doc:"the container of the service of type blob that the endpoint leads to"`
	Bucket    string `json:"bucket,omitempty" doc:"instead: a bucket's URL, as gocloud.dev/blob reads it; reached through the endpoint all the same" example:"s3://lake?region=eu-central-1"`
	Files
}

// DiskDestination is a folder of the agent's machine.
type DiskDestination struct {
	Folder string `json:"folder" doc:"below the folders that the process was told it may write to: isthmus bridge run --folder, isthmus agent run --bridge-folder" example:"/srv/lake"`
	Files
}

// KafkaDestination is a topic.
type KafkaDestination struct {
	Topic string `json:"topic" doc:"must exist"`
	Key   string `json:"key,omitempty" doc:"Bloblang: the record's key; the device's id when absent, hashed where the contract does not let it cross"`
	TLS   bool   `json:"tls,omitempty" doc:"speak TLS with the brokers"`
	SASL  string `json:"sasl,omitempty" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" doc:"the secret then holds user:password"`
}

// MQTTDestination is a broker. Events are published with quality of service 1.
type MQTTDestination struct {
	Topic  string `json:"topic" doc:"with {device}, {partition} and {NAME} of properties" example:"plant/{device}/telemetry"`
	Retain bool   `json:"retain,omitempty" doc:"let the broker keep the last message of each topic"`
	TLS    bool   `json:"tls,omitempty" doc:"the secret may hold user:password"`
}

// HTTPDestination takes batches as a JSON array, or one event a request.
type HTTPDestination struct {
	Path           string            `json:"path" doc:"with its query" example:"/ingest"`
	Method         string            `json:"method,omitempty" enum:"POST,PUT" doc:"POST when absent"`
	Plain          bool              `json:"plain,omitempty" doc:"http, not https"`
	Single         bool              `json:"single,omitempty" doc:"one event a request, its body as it is"`
	Headers        map[string]string `json:"headers,omitempty" doc:"no secrets: the secret's content is sent as Authorization"`
	TimeoutSeconds int               `json:"timeoutSeconds,omitempty" minimum:"0" maximum:"300" doc:"10 when absent"`
}

func (d *BridgeDestination) validate(op string) error {
	forms, form := 0, ""
	for name, there := range map[string]bool{
		"eventHub": d.EventHub != nil, "blob": d.Blob != nil, "disk": d.Disk != nil, "kafka": d.Kafka != nil, "mqtt": d.MQTT != nil, "http": d.HTTP != nil,
	} {
		if there {
			forms, form = forms+1, name
		}
	}
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	switch {
	case forms != 1:
		return bad("spec.destination has %d forms", forms).Advise("give exactly one of eventHub, blob, disk, kafka, mqtt and http")
	case form != "disk" && d.Endpoint == "":
		return bad("spec.destination.endpoint is missing").Advise("name the private endpoint of the bridge's network that leads there")
	case form == "disk" && d.Endpoint != "":
		return bad("spec.destination.endpoint does not go with disk").Advise("take it out")
	}
	if d.Endpoint != "" {
		if err := ValidateName(d.Endpoint); err != nil {
			return within(op, "spec.destination.endpoint", err)
		}
	}
	if err := validateSecret(op, "spec.destination.secret", d.Secret); err != nil {
		return err
	}
	switch form {
	case "eventHub":
		if !anyHubName.MatchString(d.EventHub.Name) {
			return bad("spec.destination.eventHub.name is %.60q", d.EventHub.Name).Advise("name the event hub")
		}
		return checkBloblang(op, "spec.destination.eventHub.key", d.EventHub.Key, false)
	case "blob":
		if (d.Blob.Container == "") == (d.Blob.Bucket == "") {
			return bad("spec.destination.blob needs a container or a bucket, and not both").Advise("give the container of a blob service, or the URL of another store's bucket")
		}
		return d.Blob.validate(op, "spec.destination.blob")
	case "disk":
		if !strings.HasPrefix(d.Disk.Folder, "/") && !(len(d.Disk.Folder) > 2 && d.Disk.Folder[1] == ':') || strings.Contains(d.Disk.Folder, "..") {
			return bad("spec.destination.disk.folder is %.100q", d.Disk.Folder).Advise("write it from the root of the disk, without ..")
		}
		return d.Disk.validate(op, "spec.destination.disk")
	case "kafka":
		if d.Kafka.Topic == "" || len(d.Kafka.Topic) > 249 {
			return bad("spec.destination.kafka.topic has %d characters", len(d.Kafka.Topic)).Advise("name the topic, in 1 to 249 characters")
		}
		switch d.Kafka.SASL {
		case "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		default:
			return bad("spec.destination.kafka.sasl is %.40q", d.Kafka.SASL).Advise("use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		if d.Kafka.SASL != "" && d.Secret == "" {
			return bad("spec.destination.kafka.sasl needs spec.destination.secret").Advise("name the file with user:password")
		}
		return checkBloblang(op, "spec.destination.kafka.key", d.Kafka.Key, false)
	case "mqtt":
		if t := d.MQTT.Topic; t == "" || len(t) > 1024 || strings.ContainsAny(t, "#+\x00") {
			return bad("spec.destination.mqtt.topic is %.60q", t).Advise("write a topic without # and +")
		}
	case "http":
		if !strings.HasPrefix(d.HTTP.Path, "/") {
			return bad("spec.destination.http.path is %.60q", d.HTTP.Path).Advise("begin it with /; the host is the service's")
		}
		if m := d.HTTP.Method; m != "" && m != "POST" && m != "PUT" {
			return bad("spec.destination.http.method is %.20q", m).Advise("use POST or PUT")
		}
		return checkHeaders(op, "spec.destination.http.headers", d.HTTP.Headers)
	}
	return nil
}

func (f *Files) validate(op, field string) error {
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	switch {
	case f.Path == "" || len(f.Path) > 512 || strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path, "..") || strings.Contains(f.Path, "//"):
		return bad("%s.path is %.100q", field, f.Path).Advise("write a path without a slash at its beginning and without ..")
	case f.MaxEvents < 0 || f.MaxEvents > 10_000_000 || f.MaxBytes < 0 || f.MaxSeconds < 0 || f.MaxSeconds > 86_400:
		return bad("%s has a bound that cannot be", field).Advise("maxEvents is 0 to 10000000, maxSeconds 0 to 86400")
	}
	switch f.Format {
	case "", FormatJSON, FormatCSV, FormatParquet, FormatRaw:
	default:
		return bad("%s.format is %.20q", field, f.Format).Advise("use json, csv, parquet or raw")
	}
	return checkColumns(op, field+".columns", f.Columns)
}

func checkColumns(op, field string, columns []Column) error {
	seen := map[string]bool{}
	for _, c := range columns {
		if !columnName.MatchString(c.Name) || seen[c.Name] {
			return fault.Newf(op, fault.Invalid, "%s: %.60q cannot be a column's name, or is there twice", field, c.Name).Advise("use letters, digits and _, a letter first")
		}
		seen[c.Name] = true
		switch c.Type {
		case "", ColumnText, ColumnInteger, ColumnNumber, ColumnBoolean, ColumnTime:
		default:
			return fault.Newf(op, fault.Invalid, "%s: column %s is of type %.20q", field, c.Name, c.Type).Advise("use text, integer, number, boolean or time")
		}
		if err := checkBloblang(op, field+"."+c.Name, c.Value, false); err != nil {
			return err
		}
	}
	return nil
}

func checkBloblang(op, field, text string, needed bool) error {
	if text == "" && needed {
		return fault.Newf(op, fault.Invalid, "%s is empty", field).Advise("write a Bloblang expression")
	}
	if len(text) > maxBloblang {
		return fault.Newf(op, fault.Invalid, "%s has %d bytes", field, len(text)).Advise("keep it to %d", maxBloblang)
	}
	return nil
}

func checkHeaders(op, field string, headers map[string]string) error {
	for name, value := range headers {
		if name == "" || strings.ContainsAny(name, " \r\n:") || strings.ContainsAny(value, "\r\n") {
			return fault.Newf(op, fault.Invalid, "%s: %.40q cannot be a header", field, name)
		}
		if strings.EqualFold(name, "Authorization") {
			return fault.Newf(op, fault.Invalid, "%s has Authorization", field).Advise("a manifest holds no secrets: name the secret's file in secret")
		}
	}
	return nil
}
