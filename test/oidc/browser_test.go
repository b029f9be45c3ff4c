package oidc

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"testing"
)

// browser signs one person in: it fills in the forms that the provider shows, until there is none.
type browser struct {
	t    *testing.T
	as   string
	http *http.Client
}

func newBrowser(t *testing.T, as string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, as, &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// open goes to a page and on from there; it returns the text of the last.
func (b *browser) open(at string) string {
	resp, err := b.http.Get(at)
	for range 10 {
		if err != nil {
			b.t.Errorf("the browser: %v", err)
			return ""
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.t.Errorf("the browser sees %s at %s: %s", resp.Status, resp.Request.URL.Path, body)
			return ""
		}
		action, fields := form(string(body))
		if fields == nil {
			return string(body)
		}
		for name := range fields {
			switch name {
			case "login":
				fields.Set(name, b.as)
			case "password":
				fields.Set(name, "any")
			}
		}
		to, err := resp.Request.URL.Parse(action)
		if err != nil {
			b.t.Error(err)
			return ""
		}
		resp, err = b.http.PostForm(to.String(), fields)
		if err != nil {
			b.t.Errorf("the browser: %v", err)
			return ""
		}
	}
	b.t.Error("the provider asks without end")
	return ""
}

var (
	forms  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	inputs = regexp.MustCompile(`<input[^>]*>`)
	names  = regexp.MustCompile(`name="([^"]*)"`)
	values = regexp.MustCompile(`value="([^"]*)"`)
)

// form is the first form of a page; fields are nil when there is none.
func form(page string) (action string, fields url.Values) {
	m := forms.FindStringSubmatch(page)
	if m == nil {
		return "", nil
	}
	fields = url.Values{}
	for _, in := range inputs.FindAllString(m[2], -1) {
		if name := names.FindStringSubmatch(in); name != nil {
			value := append(values.FindStringSubmatch(in), "", "")[1]
			fields.Set(name[1], html.UnescapeString(value))
		}
	}
	return html.UnescapeString(m[1]), fields
}
