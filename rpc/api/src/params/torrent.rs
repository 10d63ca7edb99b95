//! The arguments of the torrent_* methods.

use super::{Params, as_integer, labels, name, same};
use crate::{
    Code, Name, RpcError, ids, ids::Selector, limits, torrent::TorrentField, tracker_list,
};
use data_encoding::{BASE64, BASE64_NOPAD};
use serde_json::Value;

impl Params {
    /// Which torrents the call is about.
    pub fn selector(&self) -> Selector {
        Selector::parse(self.get(same("ids")), self.dialect())
    }
}

/// How torrents are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// An object for each.
    Objects,
    /// The names first, then a row for each.
    Table,
}

/// The arguments of torrent_get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TorrentGet {
    /// Which torrents.
    pub ids: Selector,
    /// What of them; at least one. A table has repeated ones as often as they were asked.
    pub fields: Vec<TorrentField>,
    /// In which form.
    pub format: Format,
}

impl TorrentGet {
    /// Reads them; unknown fields are left out.
    pub fn parse(params: &Params) -> Result<TorrentGet, RpcError> {
        let asked = params.texts(same("fields")).unwrap_or_default();
        let known = |text: &&str| TorrentField::named(text, params.dialect());
        let mut fields: Vec<TorrentField> = asked.iter().filter_map(known).collect();
        if fields.is_empty() {
            return Err(RpcError::invalid("no fields specified"));
        }
        if fields.len() > limits::COLUMNS {
            return Err(RpcError::invalid("too many fields"));
        }
        let format = match params.text(same("format")) {
            Some("table") => Format::Table,
            _ => Format::Objects,
        };
        if format == Format::Objects {
            let mut seen = std::collections::HashSet::new();
            fields.retain(|field| seen.insert(*field));
        }
        Ok(TorrentGet { ids: params.selector(), fields, format })
    }
}

/// Where a new torrent comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The bytes of a .torrent file.
    Metainfo(Vec<u8>),
    /// A .torrent file on the server.
    File(String),
    /// A .torrent file on a web server.
    Url {
        /// Its address.
        url: String,
        /// `a=b; c=d`, if any.
        cookies: Option<String>,
    },
    /// A magnet link.
    Magnet(String),
    /// An info-hash alone.
    Hash([u8; 20]),
}

impl Source {
    /// Tells files, links and hashes apart.
    pub fn of_filename(text: &str) -> Source {
        let is_scheme = |scheme: &str| {
            text.split_at_checked(scheme.len())
                .is_some_and(|(head, _)| head.eq_ignore_ascii_case(scheme))
        };
        if is_scheme("magnet:?") {
            return Source::Magnet(text.to_owned());
        }
        if ["http://", "https://", "ftp://", "sftp://"].into_iter().any(is_scheme) {
            return Source::Url { url: text.to_owned(), cookies: None };
        }
        match ids::hash(text) {
            Some(hash) => Source::Hash(hash),
            None => Source::File(text.to_owned()),
        }
    }
}

/// The arguments of torrent_add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TorrentAdd {
    /// What to add.
    pub source: Source,
    /// Whether to leave it stopped; absent for the setting's way.
    pub paused: Option<bool>,
    /// An absolute folder; absent for the setting's.
    pub download_dir: Option<String>,
    /// Checked labels.
    pub labels: Vec<String>,
    /// Files and their priorities; here an empty list names no file.
    pub files: FileChanges,
    /// Peers at most.
    pub peer_limit: Option<u32>,
    /// Pieces in order.
    pub sequential_download: Option<bool>,
    /// The piece that they begin with then.
    pub sequential_download_from_piece: Option<i64>,
    /// -1, 0 or 1.
    pub bandwidth_priority: Option<i8>,
}

impl TorrentAdd {
    /// Reads them. Errors change nothing: everything is checked before anything is added.
    pub fn parse(params: &Params) -> Result<TorrentAdd, RpcError> {
        let dir = params.text(name("download_dir", "download-dir")).filter(|dir| !dir.is_empty());
        if dir.is_some_and(|dir| !dir.starts_with('/')) {
            return Err(RpcError::new(
                Code::PathNotAbsolute,
                "download directory path is not absolute",
            ));
        }
        Ok(TorrentAdd {
            labels: labels(&params.texts(same("labels")).unwrap_or_default())?,
            source: source(params)?,
            paused: params.switch(same("paused")),
            download_dir: dir.map(str::to_owned),
            files: FileChanges::parse(params),
            peer_limit: limit(params),
            sequential_download: params.switch(same("sequential_download")),
            sequential_download_from_piece: params.integer(same("sequential_download_from_piece")),
            bandwidth_priority: priority(params),
        })
    }
}

/// One of the three priorities between torrents; others count as not given.
fn priority(params: &Params) -> Option<i8> {
    let number = params.integer(name("bandwidth_priority", "bandwidthPriority"))?;
    i8::try_from(number).ok().filter(|number| (-1..=1).contains(number))
}

/// Limits in kB/s.
fn speed(params: &Params, name: Name) -> Option<u32> {
    let limit = params.integer(name)?;
    u32::try_from(limit).ok().filter(|&limit| limit <= limits::SPEED)
}

fn source(params: &Params) -> Result<Source, RpcError> {
    let filled = |key| params.text(same(key)).filter(|text| !text.is_empty());
    match (filled("filename"), filled("metainfo")) {
        (Some(filename), _) => Ok(match Source::of_filename(filename) {
            Source::Url { url, .. } => {
                Source::Url { url, cookies: filled("cookies").map(str::to_owned) }
            }
            other => other,
        }),
        (None, Some(metainfo)) => base64(metainfo).map(Source::Metainfo).ok_or_else(|| {
            RpcError::new(Code::UnrecognizedInfo, "unrecognized info: metainfo is not base64")
        }),
        (None, None) => Err(RpcError::invalid("no filename or metainfo specified")),
    }
}

/// Bytes of base64 with or without padding, and with line breaks.
fn base64(text: &str) -> Option<Vec<u8>> {
    let clean: Vec<u8>;
    let text = if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        clean = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        &clean
    } else {
        text.as_bytes()
    };
    BASE64.decode(text).or_else(|_| BASE64_NOPAD.decode(text)).ok()
}

fn limit(params: &Params) -> Option<u32> {
    let limit = params.integer(name("peer_limit", "peer-limit"))?;
    u32::try_from(limit).ok().filter(|&limit| limit > 0)
}

/// The arguments of torrent_remove.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TorrentRemove {
    /// Which torrents.
    pub ids: Selector,
    /// Whether their files go too.
    pub delete_local_data: bool,
}

impl TorrentRemove {
    /// Reads them.
    pub fn parse(params: &Params) -> TorrentRemove {
        let delete = params.switch(name("delete_local_data", "delete-local-data"));
        TorrentRemove { ids: params.selector(), delete_local_data: delete.unwrap_or(false) }
    }
}

/// The arguments of torrent_set_location.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetLocation {
    /// Which torrents.
    pub ids: Selector,
    /// An absolute path.
    pub location: String,
    /// Whether the files are to be moved there; otherwise they are there.
    pub bring: bool,
}

impl SetLocation {
    /// Reads them. Errors change nothing.
    pub fn parse(params: &Params) -> Result<SetLocation, RpcError> {
        let location = params.text(same("location")).filter(|text| !text.is_empty());
        let location = location.ok_or_else(|| RpcError::invalid("no location"))?;
        if !location.starts_with('/') {
            return Err(RpcError::new(Code::PathNotAbsolute, "new location path is not absolute"));
        }
        let bring = params.switch(same("move")).unwrap_or(false);
        Ok(SetLocation { ids: params.selector(), location: location.to_owned(), bring })
    }
}

/// The arguments of torrent_rename_path besides the ids; empty where they are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RenamePath {
    /// A file or folder, with the torrent's name in front.
    pub path: String,
    /// Its new last component.
    pub name: String,
}

impl RenamePath {
    /// Reads them.
    pub fn parse(params: &Params) -> RenamePath {
        let text = |name| params.text(same(name)).unwrap_or_default().to_owned();
        RenamePath { path: text("path"), name: text("name") }
    }
}

/// The arguments of torrent_set that are served; absent ones leave things as they are.
#[derive(Clone, PartialEq, Debug)]
pub struct TorrentSet {
    /// Which torrents.
    pub ids: Selector,
    /// Checked labels, which replace the old ones.
    pub labels: Option<Vec<String>>,
    /// Files and their priorities; here an empty list names all files.
    pub files: FileChanges,
    /// Peers at most.
    pub peer_limit: Option<u32>,
    /// Pieces in order.
    pub sequential_download: Option<bool>,
    /// The piece that they begin with then.
    pub sequential_download_from_piece: Option<i64>,
    /// -1, 0 or 1.
    pub bandwidth_priority: Option<i8>,
    /// kB/s.
    pub download_limit: Option<u32>,
    /// Whether that holds.
    pub download_limited: Option<bool>,
    /// The bandwidth group, trimmed; empty for none.
    pub group: Option<String>,
    /// Whether the session's speed limits hold.
    pub honors_session_limits: Option<bool>,
    /// kB/s.
    pub upload_limit: Option<u32>,
    /// Whether that holds.
    pub upload_limited: Option<bool>,
    /// Position in the queue; one beyond its end is the end.
    pub queue_position: Option<i64>,
    /// Minutes without payload after which seeding ends, from 1.
    pub seed_idle_limit: Option<u32>,
    /// 0 the session's, 1 its own, 2 none.
    pub seed_idle_mode: Option<u8>,
    /// Ratio at which seeding ends, 0 or more.
    pub seed_ratio_limit: Option<f64>,
    /// 0 the session's, 1 its own, 2 none.
    pub seed_ratio_mode: Option<u8>,
    /// Trackers by tier, which replace the old ones.
    pub tracker_list: Option<Vec<Vec<String>>>,
    /// Trackers to add, each in a tier of its own.
    pub tracker_add: Vec<String>,
    /// Trackers to remove, by their ids.
    pub tracker_remove: Vec<i64>,
    /// New URLs of trackers, by their ids.
    pub tracker_replace: Vec<(i64, String)>,
}

impl TorrentSet {
    /// Reads them. Errors change nothing.
    pub fn parse(params: &Params) -> Result<TorrentSet, RpcError> {
        let tracker_list = params.text(name("tracker_list", "trackerList"));
        let added = params.texts(name("tracker_add", "trackerAdd")).unwrap_or_default();
        let replaced = params.get(name("tracker_replace", "trackerReplace"));
        let urls = |urls: Vec<&str>| -> Result<Vec<String>, RpcError> {
            urls.iter().try_for_each(|url| tracker_list::check_url(url))?;
            Ok(urls.into_iter().map(str::to_owned).collect())
        };
        let tracker_replace = replaced.map(pairs).unwrap_or_default();
        tracker_replace.iter().try_for_each(|(_, url)| tracker_list::check_url(url))?;
        Ok(TorrentSet {
            ids: params.selector(),
            labels: params.texts(same("labels")).map(|given| labels(&given)).transpose()?,
            files: FileChanges::parse(params),
            peer_limit: limit(params),
            sequential_download: params.switch(same("sequential_download")),
            sequential_download_from_piece: params.integer(same("sequential_download_from_piece")),
            bandwidth_priority: priority(params),
            download_limit: speed(params, name("download_limit", "downloadLimit")),
            download_limited: params.switch(name("download_limited", "downloadLimited")),
            group: params.text(same("group")).map(|group| group.trim().to_owned()),
            honors_session_limits: params
                .switch(name("honors_session_limits", "honorsSessionLimits")),
            upload_limit: speed(params, name("upload_limit", "uploadLimit")),
            upload_limited: params.switch(name("upload_limited", "uploadLimited")),
            queue_position: params.integer(name("queue_position", "queuePosition")),
            seed_idle_limit: params
                .integer(name("seed_idle_limit", "seedIdleLimit"))
                .and_then(|minutes| u32::try_from(minutes).ok())
                .filter(|&minutes| minutes > 0),
            seed_idle_mode: mode(params.integer(name("seed_idle_mode", "seedIdleMode"))),
            seed_ratio_limit: params
                .double(name("seed_ratio_limit", "seedRatioLimit"))
                .filter(|&ratio| ratio >= 0.0),
            seed_ratio_mode: mode(params.integer(name("seed_ratio_mode", "seedRatioMode"))),
            tracker_list: tracker_list.map(tracker_list::parse).transpose()?,
            tracker_add: urls(added)?,
            tracker_remove: params
                .integers(name("tracker_remove", "trackerRemove"))
                .unwrap_or_default(),
            tracker_replace,
        })
    }
}

/// One of the three modes of a goal; others count as not given.
fn mode(number: Option<i64>) -> Option<u8> {
    number.and_then(|number| u8::try_from(number).ok()).filter(|&mode| mode <= 2)
}

/// Ids with URLs, flat (`[id, url, id, url]`) or in pairs (`[[id, url], …]`).
fn pairs(value: &Value) -> Vec<(i64, String)> {
    let Some(list) = value.as_array() else { return Vec::new() };
    let flat: Vec<&Value> = list
        .iter()
        .flat_map(|item| item.as_array().map_or(std::slice::from_ref(item), Vec::as_slice))
        .collect();
    let pair = |pair: &[&Value]| Some((as_integer(pair[0])?, pair[1].as_str()?.to_owned()));
    flat.chunks_exact(2).filter_map(pair).collect()
}

/// The arguments of group_set; absent ones leave things as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSet {
    /// Which group; made if there is none of that name.
    pub name: String,
    /// Whether the session's speed limits hold for its torrents.
    pub honors_session_limits: Option<bool>,
    /// kB/s.
    pub speed_limit_down: Option<u32>,
    /// Whether that holds.
    pub speed_limit_down_enabled: Option<bool>,
    /// kB/s.
    pub speed_limit_up: Option<u32>,
    /// Whether that holds.
    pub speed_limit_up_enabled: Option<bool>,
}

impl GroupSet {
    /// Reads them. Errors change nothing.
    pub fn parse(params: &Params) -> Result<GroupSet, RpcError> {
        let group = params.text(same("name")).map(str::trim).filter(|name| !name.is_empty());
        let switch = |snake, legacy| params.switch(name(snake, legacy));
        Ok(GroupSet {
            name: group.ok_or_else(|| RpcError::invalid("no group name given"))?.to_owned(),
            honors_session_limits: switch("honors_session_limits", "honorsSessionLimits"),
            speed_limit_down: speed(params, name("speed_limit_down", "speed-limit-down")),
            speed_limit_down_enabled: switch(
                "speed_limit_down_enabled",
                "speed-limit-down-enabled",
            ),
            speed_limit_up: speed(params, name("speed_limit_up", "speed-limit-up")),
            speed_limit_up_enabled: switch("speed_limit_up_enabled", "speed-limit-up-enabled"),
        })
    }
}

/// The names that group_get asks for; `None` for all groups.
pub fn groups_asked(params: &Params) -> Option<Vec<String>> {
    let one = params.text(same("name")).map(|name| vec![name]);
    let names = one.or_else(|| params.texts(same("name")))?;
    Some(names.into_iter().map(str::to_owned).collect())
}

/// How much a file is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FilePriority {
    Low,
    Normal,
    High,
}

/// Files to want or not, and their priorities, by number. `None` for a list that was not given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileChanges {
    /// `files_unwanted`: applied first.
    pub unwanted: Option<Vec<i64>>,
    /// `files_wanted`: applied second.
    pub wanted: Option<Vec<i64>>,
    /// `priority_low`: priorities are applied in this order, after the above.
    pub low: Option<Vec<i64>>,
    /// `priority_normal`
    pub normal: Option<Vec<i64>>,
    /// `priority_high`
    pub high: Option<Vec<i64>>,
}

impl FileChanges {
    fn parse(params: &Params) -> FileChanges {
        FileChanges {
            unwanted: params.integers(name("files_unwanted", "files-unwanted")),
            wanted: params.integers(name("files_wanted", "files-wanted")),
            low: params.integers(name("priority_low", "priority-low")),
            normal: params.integers(name("priority_normal", "priority-normal")),
            high: params.integers(name("priority_high", "priority-high")),
        }
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        *self == FileChanges::default()
    }

    /// What the files become: for each whether it is wanted, and how much.
    ///
    /// `empty_is_all` is how torrent_set reads an empty list. A number without a file is an error,
    /// and then nothing was changed.
    pub fn apply(
        &self,
        files: &mut [(bool, FilePriority)],
        empty_is_all: bool,
    ) -> Result<(), RpcError> {
        let numbers = [&self.unwanted, &self.wanted, &self.low, &self.normal, &self.high];
        let exists = |&index: &i64| usize::try_from(index).is_ok_and(|index| index < files.len());
        if !numbers.into_iter().flatten().flatten().all(exists) {
            return Err(Code::FileIndex.into());
        }
        let mut each =
            |list: &Option<Vec<i64>>, change: &dyn Fn(&mut (bool, FilePriority))| match list {
                Some(list) if list.is_empty() && empty_is_all => files.iter_mut().for_each(change),
                Some(list) => list.iter().for_each(|&index| change(&mut files[index as usize])),
                None => {}
            };
        each(&self.unwanted, &|file| file.0 = false);
        each(&self.wanted, &|file| file.0 = true);
        each(&self.low, &|file| file.1 = FilePriority::Low);
        each(&self.normal, &|file| file.1 = FilePriority::Normal);
        each(&self.high, &|file| file.1 = FilePriority::High);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dialect;
    use serde_json::json;

    fn given(value: Value, dialect: Dialect) -> Params {
        Params::parse(Some(&value.to_string()), dialect).unwrap()
    }

    #[test]
    fn fields_are_recognised_by_dialect_and_others_dropped() {
        let fields = json!({"fields": ["id", "fileCount", "downloadDir", "id", "total_size"]});
        let older = TorrentGet::parse(&given(fields.clone(), Dialect::Legacy)).unwrap();
        let names: Vec<_> = older.fields.iter().map(|field| field.name().snake).collect();
        assert_eq!(names, ["id", "download_dir", "total_size"]);
        let newer = TorrentGet::parse(&given(fields, Dialect::JsonRpc)).unwrap();
        assert_eq!(newer.fields.len(), 2);
        let table = json!({"fields": ["id", "id"], "format": "table"});
        let table = TorrentGet::parse(&given(table, Dialect::JsonRpc)).unwrap();
        assert_eq!((table.fields.len(), table.format), (2, Format::Table));
    }

    #[test]
    fn no_known_field_is_an_error() {
        for fields in
            [json!({}), json!({"fields": []}), json!({"fields": ["x"]}), json!({"fields": "id"})]
        {
            let error = TorrentGet::parse(&given(fields, Dialect::JsonRpc)).unwrap_err();
            assert_eq!(error.code, Code::InvalidParams);
        }
    }

    #[test]
    fn what_to_add_is_told_by_its_form() {
        let hash = "00112233445566778899AABBCCDDEEFF00112233";
        assert!(matches!(Source::of_filename("HTTP://x/a.torrent"), Source::Url { .. }));
        assert!(matches!(Source::of_filename("magnet:?xt=x"), Source::Magnet(_)));
        assert!(matches!(Source::of_filename(hash), Source::Hash(_)));
        assert!(matches!(Source::of_filename("/a/b.torrent"), Source::File(_)));
        let add = |value| TorrentAdd::parse(&given(value, Dialect::Legacy));
        let metainfo = |text| add(json!({ "metainfo": text })).map(|add| add.source);
        assert_eq!(metainfo("ZDE6YQ=="), Ok(Source::Metainfo(b"d1:a".to_vec())));
        assert_eq!(metainfo("ZDE6\r\nYQ"), Ok(Source::Metainfo(b"d1:a".to_vec())));
        assert_eq!(metainfo("***").unwrap_err().code, Code::UnrecognizedInfo);
        assert_eq!(metainfo("").unwrap_err().code, Code::InvalidParams);
        let both = add(json!({"metainfo": "ZDE6YQ==", "filename": "/x"})).unwrap();
        assert_eq!(both.source, Source::File("/x".to_owned()));
    }

    #[test]
    fn a_new_torrent_needs_an_absolute_folder_and_good_labels() {
        let add = |extra: Value| {
            let mut value = json!({"filename": "/x"});
            value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            TorrentAdd::parse(&given(value, Dialect::Legacy))
        };
        assert_eq!(add(json!({"download-dir": "a"})).unwrap_err().code, Code::PathNotAbsolute);
        assert_eq!(add(json!({"download-dir": ""})).unwrap().download_dir, None);
        assert_eq!(add(json!({"labels": ["a,b"]})).unwrap_err().code, Code::InvalidParams);
        let full = add(json!({
            "download-dir": "/d", "labels": ["a"], "paused": 1, "peer-limit": 7,
            "files-unwanted": [0], "sequential_download": true, "cookies": 4, "unknown": {}
        }));
        let full = full.unwrap();
        assert_eq!(full.download_dir.as_deref(), Some("/d"));
        assert_eq!((full.paused, full.peer_limit), (Some(true), Some(7)));
        assert_eq!(full.files.unwanted, Some(vec![0]));
        assert_eq!(full.sequential_download, Some(true));
    }

    #[test]
    fn file_lists_apply_in_their_order_and_all_or_nothing() {
        use FilePriority::{High, Low, Normal};
        let changes = given(
            json!({"files-unwanted": [0, 1], "files-wanted": [1], "priority-low": [0, 2], "priority-high": [2]}),
            Dialect::Legacy,
        );
        let changes = FileChanges::parse(&changes);
        let mut files = [(true, Normal); 3];
        changes.apply(&mut files, true).unwrap();
        assert_eq!(files, [(false, Low), (true, Normal), (true, High)]);

        let all = FileChanges { unwanted: Some(Vec::new()), ..FileChanges::default() };
        let mut files = [(true, Normal); 2];
        all.apply(&mut files, false).unwrap();
        assert_eq!(files, [(true, Normal); 2]);
        all.apply(&mut files, true).unwrap();
        assert_eq!(files, [(false, Normal); 2]);

        for bad in [-1, 2] {
            let bad = FileChanges { unwanted: Some(vec![0, bad]), ..FileChanges::default() };
            let mut files = [(true, Normal); 2];
            assert_eq!(bad.apply(&mut files, true).unwrap_err().code, Code::FileIndex);
            assert_eq!(files, [(true, Normal); 2]);
        }
    }

    #[test]
    fn trackers_are_replaced_flat_or_in_pairs() {
        for form in [json!([1, "http://a", 2, "udp://b"]), json!([[1, "http://a"], [2, "udp://b"]])]
        {
            let set = given(json!({"ids": [1], "trackerReplace": form}), Dialect::Legacy);
            let set = TorrentSet::parse(&set).unwrap();
            assert_eq!(
                set.tracker_replace,
                [(1, "http://a".to_owned()), (2, "udp://b".to_owned())]
            );
        }
        let bad = given(json!({"trackerAdd": ["nonsense"]}), Dialect::Legacy);
        assert_eq!(TorrentSet::parse(&bad).unwrap_err().code, Code::InvalidTrackerList);
    }

    #[test]
    fn files_are_kept_unless_their_removal_is_asked_for() {
        let remove = |value| TorrentRemove::parse(&given(value, Dialect::Legacy));
        assert!(!remove(json!({})).delete_local_data);
        assert!(!remove(json!({"delete-local-data": "yes"})).delete_local_data);
        assert!(remove(json!({"delete-local-data": true})).delete_local_data);
        assert!(remove(json!({"delete_local_data": 1})).delete_local_data);
    }
}
