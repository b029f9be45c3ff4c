package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/test/processes"
)

// publicDNS is a real BIND in the internet that plays the public DNS of a cloud: each name of a service with a private endpoint, our own
// and another company's, leads by a CNAME into the privatelink zone, and from there to a public address.
type publicDNS struct {
	t    *testing.T
	w    *world
	dir  string
	port string
	cmd  *exec.Cmd
}

func (w *world) publicDNS(port, zones string, files map[string]string) *publicDNS {
	w.t.Helper()
	p := &publicDNS{t: w.t, w: w, port: port}
	var err error
	p.dir, err = os.MkdirTemp("", "isthmus-named-")
	must(w.t, err)
	w.t.Cleanup(func() { p.stop(); os.RemoveAll(p.dir) })
	must(w.t, os.Chmod(p.dir, 0o755))
	for name, text := range files {
		must(w.t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644))
	}
	must(w.t, os.WriteFile(filepath.Join(p.dir, "named.conf"), fmt.Appendf(nil, `options { directory "%s"; listen-on port %s { %s; }; listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no;
  allow-query { any; }; dnssec-validation no; minimal-responses no; };
controls { };
%s`, p.dir, port, w.sites.RelayIP, zones), 0o644))
	p.start()
	return p
}

func (p *publicDNS) start() {
	p.t.Helper()
	path, err := exec.LookPath("named")
	if err != nil {
		path = "/usr/sbin/named"
	}
	p.cmd = exec.Command("ip", "netns", "exec", p.w.sites.Internet(), path, "-f", "-c", filepath.Join(p.dir, "named.conf"))
	must(p.t, p.cmd.Start())
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	must(p.t, processes.Until(ctx, func() error { return p.w.dialSite("plant7", p.w.sites.RelayIP+":"+p.port) }))
}

func (p *publicDNS) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

const zoneHead = "$TTL 1\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns A 203.0.113.10\n"

// lookup asks a site's resolver and returns the code and the addresses.
func (w *world) lookup(site, name string) (string, []string, error) {
	var in *dns.Msg
	err := w.inSite(site, func() (err error) {
		in, _, err = (&dns.Client{Timeout: 3 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeA), "10.7.0.2:53")
		return err
	})
	if err != nil {
		return "", nil, err
	}
	var got []string
	for _, rr := range in.Answer {
		if a, ok := rr.(*dns.A); ok {
			got = append(got, a.A.String())
		}
	}
	return dns.RcodeToString[in.Rcode], got, nil
}

// within waits until a name is answered so, and returns how long that took.
func (w *world) within(ctx context.Context, site, name, code, address string) time.Duration {
	w.t.Helper()
	began := time.Now()
	must(w.t, processes.Until(ctx, func() error {
		c, got, err := w.lookup(site, name)
		if err != nil {
			return err
		}
		if c != code || strings.Join(got, " ") != address {
			return fmt.Errorf("%s is %s %v, want %s %s", name, c, got, code, address)
		}
		return nil
	}))
	return time.Since(began)
}

// TestNames: what a network's resolver says, beside a public DNS that is a real BIND, while everything about it changes.
func TestNames(t *testing.T) {
	w := start(t, "isthn")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	public := w.publicDNS("53", `zone "azure-devices.net" { type primary; file "db.azure"; }; zone "corp.example" { type primary; file "db.corp"; };`, map[string]string{
		"db.azure": zoneHead + `contoso CNAME contoso.privatelink
contoso.privatelink CNAME contoso.hub
contoso.hub A 203.0.113.98
fabrikam CNAME fabrikam.privatelink
fabrikam.privatelink CNAME fabrikam.hub
fabrikam.hub A 203.0.113.99
`,
		"db.corp": zoneHead + "mes A 203.0.113.1\n",
	})
	w.publicDNS("5300", `zone "corp.example" { type primary; file "db.corp"; };`, map[string]string{"db.corp": zoneHead + "mes A 192.0.2.20\nother A 192.0.2.21\n"})
	network := func() string {
		return "apiVersion: isthmus/v1\nkind: Network\nmetadata: {tenant: ot, name: plant-7}\nspec: {addressRanges: [10.7.0.0/24], dns: {upstreams: [" + w.sites.RelayIP + "]}}\n"
	}
	w.apply(ctx, network())

	t.Run("private and public names beside each other", func(t *testing.T) {
		w.within(ctx, "plant7", "fabrikam.azure-devices.net", "NOERROR", "203.0.113.99")
		w.within(ctx, "plant7", "contoso.azure-devices.net", "NOERROR", "10.7.0.4")
		w.within(ctx, "plant7", "contoso.privatelink.azure-devices.net", "NOERROR", "10.7.0.4")
		w.within(ctx, "plant7", "nobody.azure-devices.net", "NXDOMAIN", "")
	})

	zone := func(policy string) string {
		return "apiVersion: isthmus/v1\nkind: Zone\nmetadata: {tenant: ot, name: privatelink.azure-devices.net}\nspec: {links: [{network: plant-7, resolutionPolicy: " + policy + "}]}\n"
	}
	t.Run("the trap of a privatelink zone, and the way out", func(t *testing.T) {
		w.apply(ctx, zone("Default"))
		w.within(ctx, "plant7", "fabrikam.privatelink.azure-devices.net", "NXDOMAIN", "")
		w.within(ctx, "plant7", "contoso.azure-devices.net", "NOERROR", "10.7.0.4")
		if got := w.cli(ctx, "dns", "why", "fabrikam.privatelink.azure-devices.net", "--from", "ot/plant-7"); !strings.Contains(got, "NxDomainRedirect") {
			t.Errorf("why does not show the way out:\n%s", got)
		}
		w.apply(ctx, zone("NxDomainRedirect"))
		w.within(ctx, "plant7", "fabrikam.privatelink.azure-devices.net", "NOERROR", "203.0.113.99")
		w.within(ctx, "plant7", "fabrikam.azure-devices.net", "NOERROR", "203.0.113.99")
		w.within(ctx, "plant7", "contoso.azure-devices.net", "NOERROR", "10.7.0.4")
	})

	rules := func(text string) string {
		return "apiVersion: isthmus/v1\nkind: Ruleset\nmetadata: {tenant: ot, name: rules}\nspec:\n  networks: [plant-7]\n  rules:\n" + text
	}
	second := w.sites.RelayIP + ":5300"
	t.Run("rules", func(t *testing.T) {
		w.within(ctx, "plant7", "mes.corp.example", "NOERROR", "203.0.113.1")
		// The first target is dead: nobody has the port.
		w.apply(ctx, rules("    - {name: corp, domain: corp.example, targets: [\""+w.sites.RelayIP+":5399\", \""+second+"\"]}\n"))
		w.within(ctx, "plant7", "other.corp.example", "NOERROR", "192.0.2.21")
		w.within(ctx, "plant7", "mes.corp.example", "NOERROR", "192.0.2.20")
		// One name for itself: the rule for the rest is shorter.
		w.apply(ctx, rules("    - {name: corp, domain: corp.example, targets: [\""+w.sites.RelayIP+"\"]}\n    - {name: one, domain: other.corp.example, exact: true, targets: [\""+second+"\"]}\n"))
		w.within(ctx, "plant7", "mes.corp.example", "NOERROR", "203.0.113.1")
		w.within(ctx, "plant7", "other.corp.example", "NOERROR", "192.0.2.21")
		if got := w.cli(ctx, "dns", "why", "other.corp.example", "--from", "ot/plant-7"); !strings.Contains(got, "one") || !strings.Contains(got, second) {
			t.Errorf("why does not name the rule and its target:\n%s", got)
		}
		_, err := w.CLI(ctx, w.sites.Internet(), rules("    - {name: loop, domain: corp.example, targets: [10.7.0.2]}\n"), "apply", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), "10.7.0.2") {
			t.Errorf("a rule that leads back into its own network is taken: %v", err)
		}
	})

	t.Run("one name, one endpoint", func(t *testing.T) {
		_, err := w.CLI(ctx, w.sites.Internet(), "apiVersion: isthmus/v1\nkind: PrivateEndpoint\nmetadata: {tenant: ot, network: plant-7, name: second}\nspec: {service: ot/ot-cloud/contoso}\n", "apply", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), "ot/plant-7/hub") {
			t.Errorf("two endpoints share a name: %v", err)
		}
		_, err = w.CLI(ctx, w.sites.Internet(), "apiVersion: isthmus/v1\nkind: RecordSet\nmetadata: {tenant: ot, zone: privatelink.azure-devices.net, name: contoso}\nspec: {a: [10.9.9.9]}\n", "apply", "-f", "-")
		if err == nil {
			t.Error("an endpoint's record was written over by hand")
		}
		w.within(ctx, "plant7", "contoso.privatelink.azure-devices.net", "NOERROR", "10.7.0.4")
	})

	t.Run("changes under load", func(t *testing.T) {
		w.apply(ctx, "apiVersion: isthmus/v1\nkind: Zone\nmetadata: {tenant: ot, name: live.example}\nspec: {networks: [plant-7]}\n")
		record := func(n int) string {
			return fmt.Sprintf("apiVersion: isthmus/v1\nkind: RecordSet\nmetadata: {tenant: ot, zone: live.example, name: press}\nspec: {ttl: 1, a: [10.7.1.%d]}\n", n)
		}
		w.apply(ctx, record(1))
		w.within(ctx, "plant7", "press.live.example", "NOERROR", "10.7.1.1")
		var asked, lost atomic.Int64
		loading, stop := context.WithCancel(ctx)
		var load sync.WaitGroup
		for range 4 {
			var c net.Conn
			must(t, w.inSite("plant7", func() (err error) { c, err = net.Dial("udp", "10.7.0.2:53"); return err }))
			load.Go(func() {
				defer c.Close()
				client := &dns.Client{Timeout: 2 * time.Second}
				pace := time.NewTicker(2 * time.Millisecond) // below what one source may ask
				defer pace.Stop()
				for i := 0; loading.Err() == nil; i++ {
					<-pace.C
					name := []string{"press.live.example.", "contoso.azure-devices.net.", "nothing.live.example."}[i%3]
					in, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), &dns.Conn{Conn: c})
					asked.Add(1)
					if err != nil || in.Rcode == dns.RcodeServerFailure || in.Rcode == dns.RcodeRefused {
						lost.Add(1)
					}
				}
			})
		}
		slowest := time.Duration(0)
		for n := 2; n <= 21; n++ {
			began := time.Now()
			w.apply(ctx, record(n))
			w.within(ctx, "plant7", "press.live.example", "NOERROR", netip.AddrFrom4([4]byte{10, 7, 1, byte(n)}).String())
			slowest = max(slowest, time.Since(began))
		}
		stop()
		load.Wait()
		t.Logf("%d questions during 20 changes, %d lost; the slowest change was live %v after its command began", asked.Load(), lost.Load(), slowest.Round(time.Millisecond))
		if lost.Load() > 0 || asked.Load() < 1000 {
			t.Errorf("%d of %d questions were lost", lost.Load(), asked.Load())
		}
		if slowest > time.Second {
			t.Errorf("a change took %v", slowest)
		}
	})

	t.Run("an old answer is better than none", func(t *testing.T) {
		w.within(ctx, "plant7", "fabrikam.azure-devices.net", "NOERROR", "203.0.113.99")
		public.stop()
		past := time.Now().Add(2 * time.Second) // its time to live is one second
		must(t, processes.Until(ctx, func() error {
			code, got, err := w.lookup("plant7", "fabrikam.azure-devices.net")
			if err != nil {
				return err
			}
			if code != "NOERROR" || len(got) != 1 {
				t.Fatalf("without the public DNS: %s %v", code, got)
			}
			if time.Now().Before(past) {
				return fmt.Errorf("not stale yet")
			}
			return nil
		}))
		w.within(ctx, "plant7", "contoso.azure-devices.net", "NOERROR", "10.7.0.4")
		public.start()
		w.within(ctx, "plant7", "fabrikam.azure-devices.net", "NOERROR", "203.0.113.99")
	})
}
