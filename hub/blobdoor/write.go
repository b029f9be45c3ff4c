package blobdoor

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/intake"
	"github.com/isthmus-io/isthmus/wire/azureblob"
)

const (
	maxMetadata = 8 << 10 // bytes of names and values (Azure: the same)
	metaPrefix  = "X-Ms-Meta-"
)

// properties reads what the request says about the blob it makes.
func (x *exchange) properties() (blob.Properties, error) {
	op := "blobdoor.properties"
	h := x.Header
	p := blob.Properties{
		ContentType: h.Get("x-ms-blob-content-type"), ContentEncoding: h.Get("x-ms-blob-content-encoding"), ContentLanguage: h.Get("x-ms-blob-content-language"),
		ContentDisposition: h.Get("x-ms-blob-content-disposition"), CacheControl: h.Get("x-ms-blob-cache-control"),
	}
	if text := h.Get("x-ms-blob-content-md5"); text != "" {
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != 16 {
			return p, with(fault.New(op, fault.Invalid, "x-ms-blob-content-md5 is not base64 of 16 bytes"), http.StatusBadRequest, "InvalidMd5")
		}
		p.MD5 = sum
	}
	size := 0
	for name, values := range h {
		key, ok := strings.CutPrefix(name, metaPrefix)
		if !ok {
			continue
		}
		if key == "" || size+len(key)+len(values[0]) > maxMetadata {
			return p, with(fault.Newf(op, fault.Invalid, "the blob's metadata has a name that is empty, or is larger than %d bytes", maxMetadata), http.StatusBadRequest, "InvalidMetadata")
		}
		size += len(key) + len(values[0])
		if p.Metadata == nil {
			p.Metadata = map[string]string{}
		}
		p.Metadata[strings.ToLower(key)] = values[0]
	}
	return p, nil
}

// upload refuses a link for writing that belongs to no upload; the hub makes none.
func (x *exchange) upload() error {
	if x.Upload == (blob.Upload{}) {
		return fault.New("blobdoor.upload", fault.Denied, "this URL belongs to no upload of a device")
	}
	return nil
}

func (x *exchange) putBlob() error {
	if t := x.Header.Get("x-ms-blob-type"); t != "BlockBlob" {
		return with(fault.Newf("blobdoor.putBlob", fault.Invalid, "x-ms-blob-type is %.40q", t).Advise("send BlockBlob: there are no others here"), http.StatusBadRequest, "InvalidHeaderValue")
	}
	p, err := x.properties()
	if err != nil {
		return err
	}
	if err := x.upload(); err != nil {
		return err
	}
	b, size, err := intake.BodyOf(x.Request, x.rc)
	if err != nil {
		return err
	}
	if p.ContentType == "" {
		p.ContentType = x.Header.Get("Content-Type")
	}
	if p.MD5 == nil {
		p.MD5 = b.MD5()
	}
	release, err := x.turn()
	if err != nil {
		return err
	}
	defer release()
	var content io.Reader = b
	if size == 0 { // its checksums are those of nothing
		if _, err := b.Read(nil); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		content = strings.NewReader("")
	}
	info, err := x.door.blobs.Put(x.Context(), x.Upload, x.Blob, p, size, content)
	if err != nil {
		return err
	}
	b.Echo(x.w.Header())
	x.created(info)
	return nil
}

func (x *exchange) putBlock() error {
	if err := x.upload(); err != nil {
		return err
	}
	id, err := azureblob.ParseBlockID(x.query.Get("blockid"))
	if err != nil {
		return with(err, http.StatusBadRequest, "InvalidQueryParameterValue")
	}
	b, size, err := intake.BodyOf(x.Request, x.rc)
	if err != nil {
		return err
	}
	if size == 0 {
		return with(fault.New("blobdoor.putBlock", fault.Invalid, "the block is empty"), http.StatusBadRequest, "InvalidHeaderValue")
	}
	release, err := x.turn()
	if err != nil {
		return err
	}
	defer release()
	if err := x.door.blobs.Stage(x.Context(), x.Upload, id, size, b); err != nil {
		return err
	}
	b.Echo(x.w.Header())
	x.w.Header().Set("x-ms-request-server-encrypted", "false")
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

func (x *exchange) putBlockList() error {
	op := "blobdoor.putBlockList"
	p, err := x.properties()
	if err != nil {
		return err
	}
	if err := x.upload(); err != nil {
		return err
	}
	b, _, err := intake.BodyOf(x.Request, x.rc)
	if err != nil {
		return err
	}
	list, err := azureblob.ParseBlockList(b)
	if err != nil {
		if _, _, ok := azureblob.CodeOf(err); !ok && fault.KindOf(err) == fault.Invalid {
			err = with(err, http.StatusBadRequest, "InvalidXmlDocument")
		}
		return err
	}
	if _, err := io.Copy(io.Discard, b); err != nil { // what stands after the list counts for its checksum
		return err
	}
	ids := make([]string, len(list))
	for i, l := range list {
		if l.From == azureblob.Committed {
			return with(fault.New(op, fault.Invalid, "a block of the list is to be taken from the blob as it is, which is not possible here").Advise("send every block anew"),
				http.StatusBadRequest, "InvalidBlockList")
		}
		ids[i] = l.ID
	}
	release, err := x.turn()
	if err != nil {
		return err
	}
	defer release()
	info, err := x.door.blobs.Commit(x.Context(), x.Upload, x.Blob, p, ids)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return with(err, http.StatusBadRequest, "InvalidBlockList")
	}
	if err != nil {
		return err
	}
	x.created(info)
	return nil
}

func (x *exchange) created(i blob.Info) {
	x.describe(i)
	x.w.Header().Set("x-ms-request-server-encrypted", "false")
	x.w.WriteHeader(http.StatusCreated)
}

func (x *exchange) deleteBlob() error {
	if err := x.door.blobs.Delete(x.Context(), x.Blob); err != nil {
		return err
	}
	x.w.Header().Set("x-ms-delete-type-permanent", "true")
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (x *exchange) getBlockList() error {
	if err := x.upload(); err != nil {
		return err
	}
	var staged []azureblob.Listed
	switch kind := strings.ToLower(x.query.Get("blocklisttype")); kind {
	case "uncommitted", "all":
		list, err := x.door.blobs.Staged(x.Upload)
		if err != nil {
			return err
		}
		for _, b := range list {
			staged = append(staged, azureblob.Listed{ID: b.ID, Size: b.Size})
		}
	case "", "committed": // a blob here is one piece
	default:
		return with(fault.Newf("blobdoor.getBlockList", fault.Invalid, "blocklisttype is %.40q", kind).Advise("use uncommitted, committed or all"),
			http.StatusBadRequest, "InvalidQueryParameterValue")
	}
	x.w.Header().Set("Content-Type", "application/xml")
	_, _ = x.w.Write(azureblob.RenderBlockList(nil, staged)) // a client that went needs no answer
	return nil
}
