//! What a shop adds: the action scheduler's queue and log, and orders.

use std::io::{self, Write};

use crate::insert::Insert;
use crate::random::Random;
use crate::text::Text;
use crate::{Counts, moment, row};

pub(crate) fn actions(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("actions");
    let mut table = Insert::into("wp_actionscheduler_actions", out);
    for id in 1..=counts.actions {
        let hook =
            random.one_of(&["woocommerce_run_update_callback", "wc-admin_import_orders", "action_scheduler/migration_hook"]);
        let status = random.one_of(&["complete", "complete", "complete", "failed", "pending"]);
        let date = moment(id, counts.actions);
        let args = format!("[{},\"{}\"]", random.below(15_000), text.word(&mut random));
        let schedule = "O:30:\"ActionScheduler_SimpleSchedule\":2:{s:22:\"\\0*\\0scheduled_timestamp\";i:1700000000;s:41:\"timestamp\";i:1700000000;}";
        let claim = random.below(400_000);
        table.row(row![
            id,
            hook,
            status,
            &date,
            &date,
            10,
            &args,
            schedule,
            1 + id % 4,
            1,
            &date,
            &date,
            claim,
            crate::insert::Value::Null
        ])?;
    }
    table.finish()?;
    let mut table = Insert::into("wp_actionscheduler_logs", out);
    for id in 1..=counts.actions * 2 {
        let message = random.one_of(&["action created", "action started via WP Cron", "action complete via WP Cron"]);
        let date = moment(id, counts.actions * 2);
        table.row(row![id, id.div_ceil(2), message, &date, &date])?;
    }
    table.finish()
}

pub(crate) fn orders(counts: &Counts, text: &Text, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::of("orders");
    let mut table = Insert::into("wp_wc_orders", out);
    for at in 1..=counts.orders {
        let id = counts.posts + 3 * at;
        let status = random.one_of(&["wc-completed", "wc-completed", "wc-processing", "wc-cancelled"]);
        let (tax, total) = (format!("{}.{:08}", random.below(60), 0), format!("{}.{:08}", random.below(400), 50_000_000));
        let email = format!("{}{}@mail.example.net", text.slug(&mut random, 1), random.below(10_000));
        let date = moment(at, counts.orders);
        let transaction = format!("ch_{:016x}", random.next());
        let ip = format!("203.0.{}.{}", random.below(256), random.below(256));
        let customer = 1 + random.below(counts.users);
        let note = if random.percent(20) { text.sentences(&mut random, 80) } else { String::new() };
        table.row(row![
            id,
            status,
            "EUR",
            "shop_order",
            &tax,
            &total,
            customer,
            &email,
            &date,
            &date,
            0,
            "stripe",
            "Credit card",
            &transaction,
            &ip,
            "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
            &note
        ])?;
    }
    table.finish()?;
    let mut table = Insert::into("wp_wc_orders_meta", out);
    const KEYS: [&str; 4] = ["_stripe_intent_id", "is_vat_exempt", "_billing_address_index", "_wc_order_attribution_utm_source"];
    for at in 0..counts.orders * 4 {
        let key = KEYS[(at % 4) as usize];
        let value = match key {
            "_stripe_intent_id" => format!("pi_{:016x}", random.next()),
            "is_vat_exempt" => "no".to_owned(),
            "_billing_address_index" => text.words(&mut random, 9),
            _ => "(direct)".to_owned(),
        };
        table.row(row![at + 1, counts.posts + 3 * (1 + at / 4), key, &value])?;
    }
    table.finish()
}
