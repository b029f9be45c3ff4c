package abuse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// queries are what nobody asks, and what the answer says about each; empty is an answer.
func queries() []struct{ name, text, says string } {
	deep := func(n int) string { return strings.Repeat("(", n) + "tags.a = 1" + strings.Repeat(")", n) }
	return []struct{ name, text, says string }{
		{"4,000 parentheses", "SELECT * FROM devices WHERE " + deep(4_000), "nested"},
		{"2,700 NOTs", "SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 2_000) + "tags.a = 1", "nested"},
		{"1,000 ANDs", "SELECT * FROM devices WHERE tags.a = 1" + strings.Repeat(" AND a=1", 1_000), ""},
		{"900 ORs", "SELECT * FROM devices WHERE tags.a = 1" + strings.Repeat(" OR a=1", 1_100), ""},
		{"an IN of 3,000", "SELECT * FROM devices WHERE tags.a IN [" + strings.Repeat("1,", 3_900) + "1]", ""},
		{"8 KiB and a byte", "SELECT * FROM devices WHERE tags.a = '" + strings.Repeat("x", 8<<10) + "'", "bytes"},
		{"a path of 2,000 steps", "SELECT tags" + strings.Repeat(".a", 2_000) + " FROM devices", "steps"},
		{"patterns", "SELECT * FROM devices WHERE STARTSWITH(deviceId, '" + strings.Repeat("%_*[", 1_000) + "')", ""},
		{"another language", "SELECT * FROM devices; DROP TABLE identities;--", "semicolon"},
		{"a text that does not end", "SELECT * FROM devices WHERE tags.a = 'x", "not closed"},
		{"zeros", "SELECT * FROM devices WHERE tags.a = '\x00'", "zero character"},
		{"20 groups", "SELECT COUNT() AS n" + strings.Repeat(", tags.a", 20) + " FROM devices GROUP BY tags.a" + strings.Repeat(", tags.b", 20), ""},
		{"a number of 4,000 digits", "SELECT * FROM devices WHERE tags.a = " + strings.Repeat("9", 4_000), ""},
		{"words that grow", "SELECT * FROM devices WHERE " + strings.Repeat("CONCAT(", 20) + "'x'" + strings.Repeat(", tags.a)", 20) + " = 'x'", ""},
	}
}

func (s *site) query(ctx context.Context, text string) (processes.Reply, error) {
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		return processes.Reply{}, err
	}
	return s.web.Ask(ctx, "POST", contoso+"/devices/query"+v2021, s.token(), body, "Content-Type", "application/json")
}

// Queries that nobody asks are refused with words, or answered; those that look at every device, by many at a time, leave room for others.
func TestQueryBombs(t *testing.T) {
	n := more(20_000, 100_000)
	s := startHub(t)
	began := time.Now()
	s.crowd("d", n)
	t.Logf("%d devices in %v", n, time.Since(began).Round(time.Millisecond))
	for _, q := range queries() {
		began := time.Now()
		r, err := s.query(t.Context(), q.text)
		if err != nil {
			t.Fatalf("%s: %v", q.name, err)
		}
		if q.says == "" && (r.Status != 200 && r.Status != 400) || q.says != "" && (r.Status/100 != 4 || !bytes.Contains(r.Body, []byte(q.says))) {
			t.Errorf("%s: %d %.300s, wanted %q", q.name, r.Status, r.Body, q.says)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", q.name, took)
		}
	}
	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var answered, refused atomic.Int64
	for i := range 32 {
		all.Go(func() {
			for ctx.Err() == nil {
				r, err := s.query(ctx, []string{
					"SELECT properties.reported.state, COUNT() AS n FROM devices GROUP BY properties.reported.state",
					"SELECT COUNT() AS n FROM devices WHERE NOT IS_DEFINED(tags.nothing) AND properties.desired.a.b != 3",
					"SELECT * FROM devices WHERE tags.nothing = 'x'",
				}[i%3])
				switch {
				case ctx.Err() != nil:
				case err == nil && r.Status == 200:
					answered.Add(1)
				case err == nil && r.Status == 429:
					refused.Add(1)
				default:
					t.Errorf("a query is answered with %d %.300s, %v", r.Status, r.Body, err)
				}
			}
		})
	}
	<-time.After(time.Duration(more(3, 60)) * time.Second)
	o.fine("beside queries over all", 5)
	cancel()
	all.Wait()
	t.Logf("%d queries over all devices were answered, %d refused", answered.Load(), refused.Load())
	if answered.Load() == 0 {
		t.Error("no query was answered")
	}
	memory().within(t, 96)
	o.stop()
	s.end()
	if n := len(s.lines("level=ERROR")); n > 0 {
		t.Errorf("the log has %d errors:\n%s", n, s.tail())
	}
}

// Jobs, configurations and bulk changes without end are refused with words and leave room for others.
func TestJobAndBulkBombs(t *testing.T) {
	s := startHub(t)
	s.crowd("d", more(1_000, 50_000))
	must2 := func(r processes.Reply, status int, says string) {
		t.Helper()
		if r.Status != status || !bytes.Contains(r.Body, []byte(says)) {
			t.Errorf("%d %.300s, wanted %d and %q", r.Status, r.Body, status, says)
		}
	}
	job := func(id, rest string) processes.Reply {
		return s.ask("PUT", contoso+"/jobs/v2/"+id+v2021, s.token(), fmt.Sprintf(`{"jobId":%q,%s}`, id, rest))
	}
	const twins = `"type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}}`
	must2(job("deep", twins+`,"queryCondition":"`+strings.Repeat("(", 4_000)+`"`), 400, "nested")
	must2(job("long", twins+`,"queryCondition":"tags.a = '`+strings.Repeat("x", 9_000)+`'"`), 400, "bytes")
	must2(job("hostile", `"type":"scheduleUpdateTwin","updateTwin":{"tags":`+strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100)+`}`), 400, "nested deeper")
	must2(job(strings.Repeat("j", 200), twins), 400, "128")
	must2(job("late", twins+`,"startTime":"9999-01-01T00:00:00Z"`), 400, "start")
	must2(job("method", `"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"a/b","responseTimeoutInSeconds":1000000000}`), 400, "name of a method")
	bulk := func(body string) processes.Reply { return s.ask("POST", contoso+"/devices"+v2021, s.token(), body) }
	must2(bulk("["+strings.TrimSuffix(strings.Repeat(`{"id":"x","importMode":"create"},`, 101), ",")+"]"), 413, "1 to 100")
	must2(bulk(`[{"id":"`+strings.Repeat("x", 2<<20)+`"}]`), 413, "larger than")
	must2(bulk(strings.Repeat("[", 500_000)), 400, "JSON")
	must2(bulk(`[{"id":"../../etc","importMode":"create"},{"id":"a b","importMode":"eat"},{"id":"","importMode":"create"}]`), 400, "importMode")
	must2(s.ask("PUT", contoso+"/devices/d000001"+v2021, s.token(), strings.Repeat("x", 1<<20)), 413, "larger than")
	o := s.bystanders()
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var made, open, throttled, other atomic.Int64
	post := func(method, path, body string) {
		r, err := s.web.Ask(ctx, method, contoso+path+v2021, s.token(), []byte(body))
		switch {
		case ctx.Err() != nil:
		case err != nil || r.Status >= 500:
			t.Errorf("%s %s: %d %.300s, %v", method, path, r.Status, r.Body, err)
		case r.Status/100 == 2:
			made.Add(1)
		case r.Status == 429:
			throttled.Add(1)
		case r.Status == 403:
			open.Add(1)
		default:
			other.Add(1)
		}
	}
	var turn atomic.Int64
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				i := turn.Add(1)
				switch i % 4 {
				case 0:
					post("PUT", fmt.Sprintf("/jobs/v2/call-%d", i), fmt.Sprintf(`{"jobId":"call-%d","type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","connectTimeoutInSeconds":300}}`, i))
				case 1:
					post("PUT", fmt.Sprintf("/jobs/v2/twin-%d", i), fmt.Sprintf(`{"jobId":"twin-%d",%s}`, i, twins))
				case 2:
					post("PUT", fmt.Sprintf("/configurations/c-%d", i), fmt.Sprintf(`{"id":"c-%d","targetCondition":"*","priority":%d,"content":{"deviceContent":{"properties.desired.c%d":{"n":%d}}}}`, i, i, i, i))
				case 3:
					post("POST", "/devices", fmt.Sprintf(`[{"id":"b-%d","importMode":"create"},{"id":"b-%d","importMode":"delete"}]`, i, i-4))
				}
			}
		})
	}
	<-time.After(time.Duration(more(4, 60)) * time.Second)
	o.fine("beside jobs without end", 5)
	cancel()
	all.Wait()
	t.Logf("%d were taken, %d refused for their number, %d for their rate, %d otherwise", made.Load(), open.Load(), throttled.Load(), other.Load())
	if open.Load() == 0 {
		t.Error("nothing was refused")
	}
	memory().within(t, 96)
	o.stop()
	s.end()
	if n := len(s.lines("level=ERROR")); n > 0 {
		t.Errorf("the log has %d errors:\n%s", n, s.tail())
	}
	if n := len(s.lines()); n > 2000 {
		t.Errorf("the log has %d lines:\n%s", n, s.tail())
	}
}
