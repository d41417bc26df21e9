package sdl

// volumeAttributes reads the kind of a volume. The reference compares the words
// before it makes true and false of them; what follows from that is kept, with
// a warning.
func (d *decoder) volumeAttributes(n int32) *VolumeAttributes {
	it, ok := d.fields(n, "", "a mapping with persistent and class")
	if !ok {
		return nil
	}
	persistent, class := "false", ""
	persistentNode, classNode := it.node, int32(0)
	for it.next() {
		switch it.key {
		case "persistent":
			persistent, persistentNode = "", it.value
			d.text(it.value, &persistent)
		case "class":
			classNode = it.value
			d.text(it.value, &class)
		default:
			d.add(problem{
				rule: ruleStorageAttribute, pos: d.pos(it.keyNode), path: d.pathString(), msg: "unknown attribute " + quote(it.key),
				words: volumeAttrKeys, suggestion: suggestKey(it.key, volumeAttrKeys),
			})
		}
	}
	return d.volumeKind(persistent, class, d.t.deref(persistentNode), classNode)
}

// volumeKind judges the two words. classNode is 0 when there is no such key.
func (d *decoder) volumeKind(persistent, class string, persistentNode, classNode int32) *VolumeAttributes {
	yes, known := isWord(persistent, "true on yes"), isWord(persistent, booleanWords)
	a := &VolumeAttributes{Persistent: yes, Class: class}
	if !known {
		d.failAt("persistent", persistentNode, problem{
			rule: ruleStoragePersistent, msg: "not true or false: " + quote(persistent), words: booleanWords,
			suggestion: suggestWord(persistent, "true false"),
		})
		return nil
	}
	if classNode == 0 {
		switch {
		case persistent == "true":
			a.Class = storageClassDefault
		case yes:
			d.failAt("persistent", persistentNode, problem{
				rule: ruleStorageContradiction, lax: true, suggestion: "true",
				msg: quote(persistent) + " asks for persistent storage of no class; true asks for class default",
			})
		}
		return a
	}
	return d.classKind(a, persistent, d.t.deref(classNode))
}

// storageClassDefault and storageClassRAM are the classes with rules of their own.
const (
	storageClassDefault = "default"
	storageClassRAM     = "ram"
)

func (d *decoder) classKind(a *VolumeAttributes, persistent string, classNode int32) *VolumeAttributes {
	switch {
	case a.Class == "" && persistent == "true":
		a.Class = storageClassDefault
	case !isWord(a.Class, storageClasses):
		d.failAt("class", classNode, problem{
			rule: ruleStorageClass, msg: "unknown storage class " + quote(a.Class), words: storageClasses,
			suggestion: suggestWord(a.Class, storageClasses),
		})
		return nil
	case a.Class == storageClassRAM && persistent != "false":
		d.failAt("class", classNode, problem{rule: ruleStorageRAM, msg: "class ram needs persistent false", suggestion: "persistent: false"})
	case a.Class == storageClassRAM:
	case persistent == "false":
		d.failAt("class", classNode, problem{
			rule: ruleStorageEphemeralClass, msg: "class " + a.Class + " needs persistent true", suggestion: "persistent: true",
		})
	case !a.Persistent:
		d.failAt("class", classNode, problem{
			rule: ruleStorageContradiction, lax: true, suggestion: "persistent: true",
			msg: "class " + a.Class + " is for persistent storage, but persistent is " + persistent,
		})
	}
	return a
}

// failAt reports a problem under a key of the mapping being read.
func (d *decoder) failAt(key string, n int32, p problem) {
	d.push(key)
	p.pos, p.path = d.pos(n), d.pathString()
	d.add(p)
	d.pop()
}
