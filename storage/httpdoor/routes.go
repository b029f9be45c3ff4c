package httpdoor

import (
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/storage"
)

// place is what a path names.
type place uint8

const (
	ofAccount place = iota
	ofContainer
	ofBlob
)

// operation is one row of the door's table.
type operation struct {
	name          string // as Azure's reference has it
	methods       string
	place         place
	restype, comp string
	level         storage.Level // 0: whoever proved anything
	oneOf         storage.Right
	serve         func(*exchange) error // nil: it is refused
	why           string                // it is refused
}

// operations is the table. What is refused is in it to be refused in words.
func operations() []operation {
	const (
		read, write = storage.Read, storage.Write
		make        = storage.Create | storage.Write
		list        = storage.List
	)
	return []operation{
		{name: "List Containers", methods: "GET", comp: "list", level: storage.Service, oneOf: list, serve: listContainers},
		{name: "Get Blob Service Properties", methods: "GET", restype: "service", comp: "properties", level: storage.Service, oneOf: read, serve: serviceProperties},
		{name: "Get Account Information", methods: "GET HEAD", restype: "account", comp: "properties", serve: accountInformation},

		{name: "Create Container", methods: "PUT", place: ofContainer, restype: "container", level: storage.Container, oneOf: make, serve: createContainer},
		{name: "Get Container Properties", methods: "GET HEAD", place: ofContainer, restype: "container", level: storage.Container, oneOf: read, serve: getContainer},
		{name: "Get Container Metadata", methods: "GET HEAD", place: ofContainer, restype: "container", comp: "metadata", level: storage.Container, oneOf: read, serve: getContainer},
		{name: "Set Container Metadata", methods: "PUT", place: ofContainer, restype: "container", comp: "metadata", level: storage.Container, oneOf: write, serve: setContainerMetadata},
		{name: "Get Container ACL", methods: "GET HEAD", place: ofContainer, restype: "container", comp: "acl", level: storage.Container, oneOf: read, serve: getACL},
		{name: "Set Container ACL", methods: "PUT", place: ofContainer, restype: "container", comp: "acl", level: storage.Container, oneOf: write, serve: setACL},
		{name: "Delete Container", methods: "DELETE", place: ofContainer, restype: "container", level: storage.Container, oneOf: storage.Delete, serve: deleteContainer},
		{name: "List Blobs", methods: "GET", place: ofContainer, restype: "container", comp: "list", level: storage.Listing, oneOf: list, serve: listBlobs},
		{name: "Get Account Information", methods: "GET HEAD", place: ofContainer, restype: "account", comp: "properties", serve: accountInformation},

		{name: "Put Blob, Copy Blob, Put Blob From URL", methods: "PUT", place: ofBlob, level: storage.Object, oneOf: make, serve: putBlob},
		{name: "Put Block", methods: "PUT", place: ofBlob, comp: "block", level: storage.Object, oneOf: make, serve: putBlock},
		{name: "Put Block List", methods: "PUT", place: ofBlob, comp: "blocklist", level: storage.Object, oneOf: make, serve: putBlockList},
		{name: "Get Block List", methods: "GET", place: ofBlob, comp: "blocklist", level: storage.Object, oneOf: read, serve: getBlockList},
		{name: "Get Blob", methods: "GET", place: ofBlob, level: storage.Object, oneOf: read, serve: getBlob},
		{name: "Get Blob Properties", methods: "HEAD", place: ofBlob, level: storage.Object, oneOf: read, serve: headBlob},
		{name: "Get Blob Metadata", methods: "GET HEAD", place: ofBlob, comp: "metadata", level: storage.Object, oneOf: read, serve: headBlob},
		{name: "Set Blob Metadata", methods: "PUT", place: ofBlob, comp: "metadata", level: storage.Object, oneOf: write, serve: setMetadata},
		{name: "Set Blob Properties", methods: "PUT", place: ofBlob, comp: "properties", level: storage.Object, oneOf: write, serve: setProperties},
		{name: "Lease Blob", methods: "PUT", place: ofBlob, comp: "lease", level: storage.Object, oneOf: write, serve: leaseBlob},
		{name: "Delete Blob", methods: "DELETE", place: ofBlob, level: storage.Object, oneOf: storage.Delete, serve: deleteBlob},
		{name: "Get Account Information", methods: "GET HEAD", place: ofBlob, restype: "account", comp: "properties", serve: accountInformation},

		{name: "Set Blob Service Properties", methods: "PUT", restype: "service", comp: "properties", why: "what the service allows is said by its resource"},
		{name: "Get Blob Service Stats", methods: "GET", restype: "service", comp: "stats", why: "there is no second region whose state could be told"},
		{name: "Get User Delegation Key", methods: "POST", restype: "service", comp: "userdelegationkey", why: "signatures are made with the account's keys only"},
		{name: "Blob Batch", methods: "POST", comp: "batch", why: "requests come one by one"},
		{name: "Blob Batch", methods: "POST", restype: "container", comp: "batch", why: "requests come one by one"}, // SDKs take an account in the path for a container
		{name: "Blob Batch", methods: "POST", place: ofContainer, restype: "container", comp: "batch", why: "requests come one by one"},
		{name: "Find Blobs by Tags", methods: "GET", comp: "blobs", why: "blobs have no tags"},
		{name: "Find Blobs by Tags in Container", methods: "GET", place: ofContainer, restype: "container", comp: "blobs", why: "blobs have no tags"},
		{name: "Lease Container", methods: "PUT", place: ofContainer, restype: "container", comp: "lease", why: "only blobs can be leased"},
		{name: "Restore Container", methods: "PUT", place: ofContainer, restype: "container", comp: "undelete", why: "what is deleted is gone"},
		{name: "Append Block", methods: "PUT", place: ofBlob, comp: "appendblock", why: "there are block blobs only"},
		{name: "Put Page", methods: "PUT", place: ofBlob, comp: "page", why: "there are block blobs only"},
		{name: "Get Page Ranges", methods: "GET", place: ofBlob, comp: "pagelist", why: "there are block blobs only"},
		{name: "Incremental Copy Blob", methods: "PUT", place: ofBlob, comp: "incrementalcopy", why: "there are block blobs only"},
		{name: "Snapshot Blob", methods: "PUT", place: ofBlob, comp: "snapshot", why: "a blob has no older versions"},
		{name: "Undelete Blob", methods: "PUT", place: ofBlob, comp: "undelete", why: "what is deleted is gone"},
		{name: "Set Blob Tier", methods: "PUT", place: ofBlob, comp: "tier", why: "all blobs are kept in one way"},
		{name: "Set Blob Tags", methods: "PUT", place: ofBlob, comp: "tags", why: "blobs have no tags"},
		{name: "Get Blob Tags", methods: "GET", place: ofBlob, comp: "tags", why: "blobs have no tags"},
		{name: "Set Blob Expiry", methods: "PUT", place: ofBlob, comp: "expiry", why: "blobs stay until they are deleted"},
		{name: "Set Immutability Policy", methods: "PUT DELETE", place: ofBlob, comp: "immutabilitypolicies", why: "whoever may write may write again"},
		{name: "Set Blob Legal Hold", methods: "PUT", place: ofBlob, comp: "legalhold", why: "whoever may write may write again"},
		{name: "Query Blob Contents", methods: "POST", place: ofBlob, comp: "query", why: "blobs are read whole or by ranges"},
		{name: "Abort Copy Blob", methods: "PUT", place: ofBlob, comp: "copy", why: "a copy is made before it is answered, so there is none to end"},
	}
}

// find looks the request up.
func (x *exchange) find() error {
	op := "httpdoor.find"
	at := ofAccount
	switch {
	case x.blob != "":
		at = ofBlob
	case x.container != "":
		at = ofContainer
	}
	restype, comp := strings.ToLower(x.query.Get("restype")), strings.ToLower(x.query.Get("comp"))
	known := false
	for i := range x.door.table {
		o := &x.door.table[i]
		if o.place != at || o.restype != restype || o.comp != comp {
			continue
		}
		known = true
		for m := range strings.FieldsSeq(o.methods) {
			if m == x.Method {
				x.op = o
				return nil
			}
		}
	}
	switch {
	case known:
		return coded(fault.Newf(op, fault.Invalid, "%.20s is not possible here", x.Method), http.StatusMethodNotAllowed, "UnsupportedHttpVerb")
	case at == ofContainer && restype == "" && comp == "":
		return coded(fault.New(op, fault.Invalid, "the path names a container and no blob, and the request does not say restype=container").
			Advise("blobs are in containers: there is no root container here"), http.StatusBadRequest, "InvalidQueryParameterValue")
	}
	return coded(fault.Newf(op, fault.Invalid, "restype=%.40q and comp=%.40q mean nothing here", restype, comp).
		Advise("docs/blob-api.md lists what there is"), http.StatusBadRequest, "InvalidQueryParameterValue")
}

// refuse answers an operation that is not here.
func (o *operation) refuse() error {
	return coded(fault.Newf("httpdoor.refuse", fault.Invalid, "%s is not possible here: %s", o.name, o.why), http.StatusBadRequest, "FeatureNotSupported")
}
