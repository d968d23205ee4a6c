BEGIN TRANSACTION;
CREATE TABLE rbkernel_alerts (
	number INTEGER NOT NULL, 
	identity VARCHAR(64) NOT NULL, 
	source TEXT NOT NULL, 
	status TEXT NOT NULL, 
	thread VARCHAR(64) NOT NULL, 
	alert TEXT NOT NULL, 
	received_at DOUBLE NOT NULL, 
	last_seen_at DOUBLE NOT NULL, 
	seen INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	incident TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	retry_at DOUBLE NOT NULL, 
	problem TEXT NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (identity)
);
INSERT INTO "rbkernel_alerts" VALUES(1,'327123f520c3eb5dafa80e28e72fe2e5333956fa607c94d71be470c323972dbc','generic','firing','7427d87f4f2c71c7ec801d058f502a3f165ff378683f7c06c1c92d89cbda241c','{"source": "generic", "group_key": "", "fingerprint": "d6030b483210f8fa", "status": "firing", "starts_at": "2026-11-29T20:12:50.561389+00:00", "ends_at": null, "labels": {"alertname": "NobodyKnowsThis", "service": "mail"}, "annotations": {}, "url": "", "episode": ""}',1.79598317056138896945e+09,1.79598317056138896945e+09,1,'done','no run','INC-20261129-327123',0,0.0,'no runbook handles this alert; no label names a configured connection; RUN-000 (the runbook for alerts that have none of their own) cannot run: the parameter db is empty, and no default connection is configured');
INSERT INTO "rbkernel_alerts" VALUES(2,'6df732e6e0d52480951e2496ec6ca1aba5da689969c8b85b49d995c759a29249','generic','firing','37a3150d62163a076ebe164cd213e319371b7b6ddd7d1b331ea16404e6053aa7','{"source": "generic", "group_key": "", "fingerprint": "289a2e5886bc9bc8", "status": "firing", "starts_at": "2026-11-29T20:12:50.561389+00:00", "ends_at": null, "labels": {"alertname": "ShopSlow", "service": "shop", "severity": "high"}, "annotations": {"summary": "p95 is 2 s"}, "url": "", "episode": ""}',1.79598317056138896945e+09,1.79598317056138896945e+09,1,'done','started','INC-20261129-6df732',0,0.0,'');
INSERT INTO "rbkernel_alerts" VALUES(3,'ba63360baae47bca4e3e1c7527cd139b7cd1e8cd1f9aa704987d0eb9263a8eed','generic','firing','0b170b4390edb445fe07573dffa75c0d77e531340c4cfb15b9b2a424211a3e12','{"source": "generic", "group_key": "", "fingerprint": "7f6e2ecce729c173", "status": "firing", "starts_at": "2026-11-29T20:19:27.581953+00:00", "ends_at": null, "labels": {"alertname": "ShopSlow", "service": "checkout", "severity": "high"}, "annotations": {}, "url": "", "episode": ""}',1.7959835675819530487e+09,1.7959835675819530487e+09,1,'done','started','INC-20261129-ba6336',0,0.0,'');
CREATE TABLE rbkernel_attempts (
	job TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	run_id TEXT NOT NULL, 
	worker TEXT NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	outcome TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	failure TEXT NOT NULL, 
	PRIMARY KEY (job, number), 
	UNIQUE (run_id)
);
INSERT INTO "rbkernel_attempts" VALUES('7c09fa0e25c1c7e00c0a',1,'20261129T201251Z-31a981','oncall-1-468-cfe8d56c',1.79598317183400130268e+09,1.79598324376586627963e+09,'done','critical','');
CREATE TABLE rbkernel_incidents (
	id TEXT NOT NULL, 
	"group" VARCHAR(64) NOT NULL, 
	service VARCHAR(64) NOT NULL, 
	opened_at DOUBLE NOT NULL, 
	last_alert_at DOUBLE NOT NULL, 
	merged_into TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "rbkernel_incidents" VALUES('INC-20261129-327123','','c02f6fe153de929984e08117d561c93bc02eb28dbd79d734125a2db1a18765aa',1.79598317056138896945e+09,1.79598317056138896945e+09,NULL);
INSERT INTO "rbkernel_incidents" VALUES('INC-20261129-6df732','','cb0f172ebc014f9b4afdf3edf51a82345e39b9e464ff9d7020df1aa034f4641e',1.79598317056138896945e+09,1.79598317056138896945e+09,NULL);
INSERT INTO "rbkernel_incidents" VALUES('INC-20261129-ba6336','','61d0174f261d9253d9d913db60ba6561fa6c27168b6426377c1a915713ee4e1e',1.7959835675819530487e+09,1.7959835675819530487e+09,NULL);
CREATE TABLE rbkernel_job_alerts (
	job TEXT NOT NULL, 
	identity VARCHAR(64) NOT NULL, 
	PRIMARY KEY (job, identity)
);
INSERT INTO "rbkernel_job_alerts" VALUES('7c09fa0e25c1c7e00c0a','6df732e6e0d52480951e2496ec6ca1aba5da689969c8b85b49d995c759a29249');
INSERT INTO "rbkernel_job_alerts" VALUES('859fce59f1c31a04f149','ba63360baae47bca4e3e1c7527cd139b7cd1e8cd1f9aa704987d0eb9263a8eed');
CREATE TABLE rbkernel_jobs (
	id TEXT NOT NULL, 
	runbook TEXT NOT NULL, 
	parameters TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	live TEXT, 
	incident TEXT NOT NULL, 
	source TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	connections TEXT NOT NULL, 
	why TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	drained INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	not_before DOUBLE NOT NULL, 
	queued_at DOUBLE, 
	started_at DOUBLE, 
	ended_at DOUBLE, 
	run_id TEXT NOT NULL, 
	worker TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	failure TEXT NOT NULL, 
	head TEXT NOT NULL, 
	told BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (live)
);
INSERT INTO "rbkernel_jobs" VALUES('7c09fa0e25c1c7e00c0a','RUN-900','{"service": "shop"}','["shop"]',NULL,'INC-20261129-6df732','alert',2,'[]','["alert ShopSlow; RUN-900: its trigger ShopSlow"]','done',1,0,1.79598317141475558285e+09,0.0,1.79598317149954867367e+09,1.79598317183400130268e+09,1.79598324376586627963e+09,'20261129T201251Z-31a981','oncall-1-468-cfe8d56c','critical','','2b5b0d87490d3ad712e15b7762601ff60fbc3e7a5a63df8464c02e24f46a5301',1);
INSERT INTO "rbkernel_jobs" VALUES('859fce59f1c31a04f149','RUN-900','{"service": "checkout"}','["checkout"]','23e81f2a3d764e13c95d0f0d61ceb8a537244531a4a1670cb00373324dd98409','INC-20261129-ba6336','alert',2,'[]','["alert ShopSlow; RUN-900: its trigger ShopSlow"]','queued',0,0,1.79598356822311782839e+09,0.0,1.79598356852393579484e+09,NULL,NULL,'20261129T201928Z-c66622','','','','',1);
CREATE TABLE rbkernel_notification_targets (
	target TEXT NOT NULL, 
	since DOUBLE NOT NULL, 
	PRIMARY KEY (target)
);
INSERT INTO "rbkernel_notification_targets" VALUES('on-call',1795983151.93034);
CREATE TABLE rbkernel_notifications (
	incident TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	target TEXT NOT NULL, 
	event TEXT NOT NULL, 
	state TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	tries INTEGER NOT NULL, 
	next_at DOUBLE NOT NULL, 
	claimed_until DOUBLE NOT NULL, 
	sent_at DOUBLE, 
	problem TEXT NOT NULL, 
	PRIMARY KEY (incident, "key", target)
);
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-327123','unhandled/327123f520c3eb5d','','','known',1.79598317392626929283e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','started/20261129T201251Z-31a981','','','known',1.79598317392627167699e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-327123','unhandled/327123f520c3eb5d','on-call','{"key": "unhandled/327123f520c3eb5d", "kind": "unhandled", "at": "2026-11-29T20:12:51.246020+00:00", "incident": "INC-20261129-327123", "severity": "medium", "page": "INC-20261129-327123", "facts": {"title": "NobodyKnowsThis", "service": "mail", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["NobodyKnowsThis"], "runbook": "", "runbook_title": "", "run_id": "", "attempt": null, "why": "", "mind": "", "alert": "NobodyKnowsThis", "not_run": "no runbook handles this alert; no label names a configured connection; RUN-000 (the runbook for alerts that have none of their own) cannot run: the parameter db is empty, and no default connection is configured", "ran": false}}','pending',1.79598317396635079388e+09,8,1.79598362949298715591e+09,0.0,NULL,'the service could not be reached, or refused the message');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','started/20261129T201251Z-31a981','on-call','{"key": "started/20261129T201251Z-31a981", "kind": "started", "at": "2026-11-29T20:12:52.029581+00:00", "incident": "INC-20261129-6df732", "severity": "high", "page": "20261129T201251Z-31a981", "facts": {"title": "p95 is 2 s", "service": "shop", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["ShopSlow"], "runbook": "RUN-900", "runbook_title": "", "run_id": "20261129T201251Z-31a981", "attempt": 1, "why": "alert ShopSlow; RUN-900: its trigger ShopSlow", "mind": "", "seen": []}}','pending',1.79598317396647906302e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','decision/20261129T201251Z-31a981/6d81eda96a22','','','known',1.7959832426710247993e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','finding/20261129T201251Z-31a981','','','known',1.79598324267102766029e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','sealed/20261129T201251Z-31a981','','','known',1.79598324267102932936e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','decision/20261129T201251Z-31a981/6d81eda96a22','on-call','{"key": "decision/20261129T201251Z-31a981/6d81eda96a22", "kind": "decision", "at": "2026-11-29T20:14:00.226648+00:00", "incident": "INC-20261129-6df732", "severity": "critical", "page": "20261129T201251Z-31a981", "facts": {"title": "p95 is 2 s", "service": "shop", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["ShopSlow"], "runbook": "RUN-900", "runbook_title": "The shop answers slowly", "run_id": "20261129T201251Z-31a981", "attempt": 1, "why": "alert ShopSlow; RUN-900: its trigger ShopSlow", "mind": "", "decision": {"id": "6d81eda96a22", "question": "Restart the shop?", "options": ["restart", "wait"], "recommended": "restart", "reason": "", "state": "parked", "choice": null, "at": ""}, "verdict": "critical"}}','pending',1.79598324268107914928e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','finding/20261129T201251Z-31a981','on-call','{"key": "finding/20261129T201251Z-31a981", "kind": "finding", "at": "2026-11-29T20:14:00.226648+00:00", "incident": "INC-20261129-6df732", "severity": "critical", "page": "20261129T201251Z-31a981", "facts": {"title": "p95 is 2 s", "service": "shop", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["ShopSlow"], "runbook": "RUN-900", "runbook_title": "The shop answers slowly", "run_id": "20261129T201251Z-31a981", "attempt": 1, "why": "alert ShopSlow; RUN-900: its trigger ShopSlow", "mind": "", "verdict": "critical", "findings": [{"verdict": "critical", "title": "Requests of the shop", "which": "", "expected": "exit code 0, requests < 100", "actual": "exit code 0, requests: 120", "next_step": "find out why this was not met: requests < 100", "opens": "", "headline": "Requests of the shop"}], "checks": 1, "complete": true}}','pending',1.7959832426812012196e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','sealed/20261129T201251Z-31a981','on-call','{"key": "sealed/20261129T201251Z-31a981", "kind": "sealed", "at": "2026-11-29T20:14:00.226648+00:00", "incident": "INC-20261129-6df732", "severity": "critical", "page": "20261129T201251Z-31a981", "facts": {"title": "p95 is 2 s", "service": "shop", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["ShopSlow"], "runbook": "RUN-900", "runbook_title": "The shop answers slowly", "run_id": "20261129T201251Z-31a981", "attempt": 1, "why": "alert ShopSlow; RUN-900: its trigger ShopSlow", "mind": "", "head": "2b5b0d87490d3ad712e15b7762601ff60fbc3e7a5a63df8464c02e24f46a5301", "closed": false, "resolution": "", "closed_by": ""}}','pending',1.79598324268129134182e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','finding/20261129T201531Z-d24e00','','','known',1.79598338503653860093e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','sealed/20261129T201531Z-d24e00','','','known',1.79598338503654503823e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','finding/20261129T201531Z-d24e00','on-call','{"key": "finding/20261129T201531Z-d24e00", "kind": "finding", "at": "2026-11-29T20:16:22.324899+00:00", "incident": "INC-20261129-6df732", "severity": "critical", "page": "20261129T201531Z-d24e00", "facts": {"title": "p95 is 2 s", "service": "shop", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["ShopSlow"], "runbook": "RUN-900", "runbook_title": "The shop answers slowly", "run_id": "20261129T201531Z-d24e00", "attempt": null, "why": "", "mind": "", "verdict": "critical", "findings": [{"verdict": "critical", "title": "Requests of the shop", "which": "", "expected": "exit code 0, requests < 100", "actual": "exit code 0, requests: 120", "next_step": "find out why this was not met: requests < 100", "opens": "", "headline": "Requests of the shop"}], "checks": 1, "complete": true}}','pending',1.79598338503803253178e+09,0,0.0,0.0,NULL,'');
INSERT INTO "rbkernel_notifications" VALUES('INC-20261129-6df732','sealed/20261129T201531Z-d24e00','on-call','{"key": "sealed/20261129T201531Z-d24e00", "kind": "sealed", "at": "2026-11-29T20:16:22.324899+00:00", "incident": "INC-20261129-6df732", "severity": "critical", "page": "20261129T201531Z-d24e00", "facts": {"title": "p95 is 2 s", "service": "shop", "began": "2026-11-29T20:12:50.561389+00:00", "alerts": ["ShopSlow"], "runbook": "RUN-900", "runbook_title": "The shop answers slowly", "run_id": "20261129T201531Z-d24e00", "attempt": null, "why": "", "mind": "", "head": "384ef56f0bcb30561c88226994320b22dcf76615f2a83b59a3c41a8b25d6963c", "closed": false, "resolution": "", "closed_by": ""}}','pending',1.79598338503817415243e+09,0,0.0,0.0,NULL,'');
CREATE TABLE rbkernel_quarantine (
	number INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	received_at DOUBLE NOT NULL, 
	reason TEXT NOT NULL, 
	raw BLOB NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "rbkernel_quarantine" VALUES(1,'generic',1.79598317138884282107e+09,'the body is not JSON: line 1 column 9',X'7B226E616D65223A20');
CREATE TABLE rbkernel_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "rbkernel_version" VALUES(1);
CREATE TABLE rbkernel_workers (
	id TEXT NOT NULL, 
	host TEXT NOT NULL, 
	place TEXT NOT NULL, 
	process TEXT NOT NULL, 
	kernels INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	heartbeat_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_rbkernel_alerts_thread ON rbkernel_alerts (thread);
CREATE INDEX ix_rbkernel_alerts_incident ON rbkernel_alerts (incident);
CREATE INDEX rbkernel_alerts_to_do ON rbkernel_alerts (state, retry_at);
CREATE INDEX ix_rbkernel_incidents_service ON rbkernel_incidents (service);
CREATE INDEX ix_rbkernel_incidents_last_alert_at ON rbkernel_incidents (last_alert_at);
CREATE INDEX ix_rbkernel_incidents_group ON rbkernel_incidents ("group");
CREATE INDEX ix_rbkernel_jobs_state ON rbkernel_jobs (state);
CREATE INDEX ix_rbkernel_jobs_created_at ON rbkernel_jobs (created_at);
CREATE INDEX ix_rbkernel_jobs_incident ON rbkernel_jobs (incident);
CREATE INDEX ix_rbkernel_jobs_ended_at ON rbkernel_jobs (ended_at);
CREATE INDEX ix_rbkernel_job_alerts_identity ON rbkernel_job_alerts (identity);
CREATE INDEX rbkernel_notifications_to_do ON rbkernel_notifications (target, state);
CREATE INDEX rbkernel_notifications_sent ON rbkernel_notifications (target, sent_at);
COMMIT;
