package httpdoor

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

func serviceProperties(x *exchange) error {
	x.xml(http.StatusOK, []byte(`<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties>`+
		`<Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read><Write>false</Write><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>`+
		`<HourMetrics><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics>`+
		`<MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics>`+
		`<Cors/><DefaultServiceVersion>`+Version+`</DefaultServiceVersion>`+
		`<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy><StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>`))
	return nil
}

func accountInformation(x *exchange) error {
	h := x.w.Header()
	h.Set("x-ms-sku-name", "Standard_LRS")
	h.Set("x-ms-account-kind", "StorageV2")
	h.Set("x-ms-is-hns-enabled", "false")
	h.Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// page reads maxresults. A list has no more than storage.MaxPage, whatever is asked for.
func (x *exchange) page() (int, error) {
	text := x.query.Get("maxresults")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, coded(fault.New("httpdoor.page", fault.Invalid, "the parameter maxresults is not a number from 1 on"), http.StatusBadRequest, string(storage.OutOfRange))
	}
	return min(n, storage.MaxPage), nil
}

// includes tells whether a list is asked to have something more.
func (x *exchange) includes(what string) bool {
	return slices.ContainsFunc(strings.Split(x.query.Get("include"), ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), what) })
}

func (x *exchange) listHead(limit int) azureblob.ListHead {
	return azureblob.ListHead{
		Endpoint: x.Account.Endpoint("") + "/", Container: x.container, Prefix: x.query.Get("prefix"), Marker: x.query.Get("marker"), Limit: limit, Delimiter: x.query.Get("delimiter"),
	}
}

// asked is metadata for a list, nil when it is not asked for.
func (x *exchange) asked(m map[string]string) map[string]string {
	if !x.includes("metadata") {
		return nil
	}
	if m == nil {
		m = map[string]string{}
	}
	return m
}

func listContainers(x *exchange) error {
	limit, err := x.page()
	if err != nil {
		return err
	}
	p, err := x.Account.Containers(x.Context(), x.query.Get("prefix"), x.query.Get("marker"), limit)
	if err != nil {
		return err
	}
	list := make([]azureblob.ListedContainer, len(p.Containers))
	for i, c := range p.Containers {
		list[i] = azureblob.ListedContainer{Name: c.Name, ETag: c.ETag, Modified: c.Modified, Metadata: x.asked(c.Metadata)}
	}
	x.xml(http.StatusOK, azureblob.RenderContainers(x.listHead(limit), list, p.Next))
	return nil
}

func listBlobs(x *exchange) error {
	limit, err := x.page()
	if err != nil {
		return err
	}
	p, err := x.Account.List(x.Context(), x.container, storage.ListOptions{
		Prefix: x.query.Get("prefix"), Delimiter: x.query.Get("delimiter"), Marker: x.query.Get("marker"), Limit: limit,
	})
	if err != nil {
		return err
	}
	copies := x.includes("copy")
	list := make([]azureblob.ListedBlob, len(p.Entries))
	for i := range p.Entries {
		e := &p.Entries[i]
		b := azureblob.ListedBlob{
			Prefix: e.Prefix, Name: e.Name, ETag: e.ETag, Created: e.Created, Modified: e.Modified, Size: e.Size, ContentType: e.ContentType, ContentEncoding: e.ContentEncoding,
			ContentLanguage: e.ContentLanguage, ContentDisposition: e.ContentDisposition, CacheControl: e.CacheControl, MD5: e.MD5, Metadata: x.asked(e.Metadata),
		}
		if b.ContentType == "" {
			b.ContentType = "application/octet-stream"
		}
		b.LeaseStatus, b.LeaseState, b.LeaseDuration = leaseWords(e.Lease)
		if c := e.Copied; c != nil && copies {
			b.CopyID, b.CopySource = c.ID, c.Source
		}
		list[i] = b
	}
	x.xml(http.StatusOK, azureblob.RenderBlobs(x.listHead(limit), list, p.Next))
	return nil
}

// closed refuses to open a container to everybody.
func (x *exchange) closed() error {
	if x.Header.Get("x-ms-blob-public-access") != "" {
		return coded(fault.New("httpdoor.closed", fault.Denied, "public access is not permitted on this account").Advise("leave x-ms-blob-public-access out"),
			http.StatusConflict, string(storage.PublicForbidden))
	}
	return nil
}

func createContainer(x *exchange) error {
	if err := x.closed(); err != nil {
		return err
	}
	c, err := x.Account.CreateContainer(x.Context(), x.container, x.metadata())
	if err != nil {
		return err
	}
	x.changed(c.ETag, c.Modified)
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

// describeContainer says in the answer what a container is.
func (x *exchange) describeContainer() error {
	c, err := x.Account.Container(x.Context(), x.container)
	if err != nil {
		return err
	}
	x.changed(c.ETag, c.Modified)
	h := x.w.Header()
	for name, value := range c.Metadata {
		h.Set("x-ms-meta-"+name, value)
	}
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-lease-state", "available")
	h.Set("x-ms-has-immutability-policy", "false")
	h.Set("x-ms-has-legal-hold", "false")
	return nil
}

func getContainer(x *exchange) error {
	if err := x.describeContainer(); err != nil {
		return err
	}
	x.w.Header().Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusOK)
	return nil
}

func setContainerMetadata(x *exchange) error {
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	c, err := x.Account.SetContainerMetadata(x.Context(), x.container, x.metadata(), cond)
	if err != nil {
		return err
	}
	x.changed(c.ETag, c.Modified)
	x.w.WriteHeader(http.StatusOK)
	return nil
}

func getACL(x *exchange) error {
	c, err := x.Account.Container(x.Context(), x.container)
	if err != nil {
		return err
	}
	x.changed(c.ETag, c.Modified)
	x.xml(http.StatusOK, []byte(`<?xml version="1.0" encoding="utf-8"?><SignedIdentifiers/>`))
	return nil
}

// maxACL bounds the body of Set Container ACL.
const maxACL = 64 << 10

func setACL(x *exchange) error {
	if err := x.closed(); err != nil {
		return err
	}
	b := make([]byte, maxACL)
	n := 0
	for n < len(b) {
		k, err := x.Body.Read(b[n:])
		if n += k; err != nil {
			break
		}
	}
	if strings.Contains(string(b[:n]), "<SignedIdentifier>") {
		return coded(fault.New("httpdoor.setACL", fault.Invalid, "stored access policies are not possible here").Advise("make signatures that end soon, and renew the key to end them all"),
			http.StatusBadRequest, "FeatureNotSupported")
	}
	c, err := x.Account.Container(x.Context(), x.container)
	if err != nil {
		return err
	}
	x.changed(c.ETag, c.Modified)
	x.w.WriteHeader(http.StatusOK)
	return nil
}

func deleteContainer(x *exchange) error {
	cond, err := x.condition("")
	if err != nil {
		return err
	}
	if err := x.Account.DeleteContainer(x.Context(), x.container, cond, x.claim.Who); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}
