//! Multiple-choice questions as MMLU has them (Hendrycks et al., arXiv:2009.03300), answered by what a language model
//! expects to read next.

use crate::cli::names::shown;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// Letters of the choices.
const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// Ends of the names of MMLU's files, after the subject.
const SPLITS: [&str; 4] = ["_test", "_dev", "_val", "_validation"];

/// A question with its choices.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    subject: String,
    text: String,
    choices: [String; 4],
    /// Index of the right one.
    answer: usize,
}

/// Questions of a file, and those before each in its prompt.
pub struct Choices {
    /// Name of the file.
    pub name: String,
    questions: Vec<Question>,
    examples: Vec<Question>,
}

/// A line of a file of JSON lines.
#[derive(Deserialize)]
struct JsonQuestion {
    subject: Option<String>,
    question: String,
    choices: [String; 4],
    answer: JsonAnswer,
}

/// Index or letter.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonAnswer {
    Index(usize),
    Letter(String),
}

impl Choices {
    /// Reads questions, and the first `shots` of `examples`: CSV without a head, of question, four choices and the right
    /// one's letter, or in files called .jsonl a JSON object a line.
    ///
    /// # Errors
    /// I/O errors; an error that names the first row which is no question; an error where there are no questions, or
    /// fewer examples than `shots`.
    pub fn read(file: &Path, examples: Option<&Path>, shots: usize) -> Result<Self> {
        let questions = read(file)?;
        let mut before = match examples {
            Some(examples) => read(examples).with_context(|| shown(examples))?,
            None => Vec::new(),
        };
        if before.len() < shots {
            bail!("{} examples, {shots} are wanted", before.len());
        }
        before.truncate(shots);
        Ok(Self { name: shown(file), questions, examples: before })
    }

    /// Returns the number of questions.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Returns the texts to be compared, four for each question: its prompt, and one of the letters.
    pub fn texts(&self) -> Vec<Vec<u8>> {
        let texts = self.questions.iter().flat_map(|question| {
            let prompt = prompt(question, &self.examples);
            LETTERS.map(|letter| format!("{prompt} {letter}").into_bytes())
        });
        texts.collect()
    }

    /// Returns how many questions are answered rightly by the letter that costs least. bits: of [`texts`](Self::texts).
    pub fn correct(&self, bits: &[f64]) -> usize {
        let is_right = |(question, bits): &(&Question, &[f64])| {
            let least = bits.iter().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
            least.is_some_and(|(index, _)| index == question.answer)
        };
        self.questions.iter().zip(bits.chunks_exact(LETTERS.len())).filter(is_right).count()
    }
}

/// Returns the text before a question's answer, as the Language Model Evaluation Harness has it.
fn prompt(question: &Question, examples: &[Question]) -> String {
    let mut prompt = String::from("The following are multiple choice questions (with answers)");
    if !question.subject.is_empty() {
        prompt += &format!(" about {}", question.subject);
    }
    prompt += ".\n\n";
    for example in examples {
        prompt += &format!("{} {}\n\n", asked(example), LETTERS[example.answer]);
    }
    prompt + &asked(question)
}

/// Returns a question, its choices, and the word that asks for the answer.
fn asked(question: &Question) -> String {
    let choices = LETTERS.iter().zip(&question.choices);
    let choices: String = choices.map(|(letter, choice)| format!("{letter}. {choice}\n")).collect();
    format!("{}\n{choices}Answer:", question.text.trim())
}

/// Reads all questions of a file.
fn read(path: &Path) -> Result<Vec<Question>> {
    let text = fs::read_to_string(path).context("cannot read")?;
    let text = text.trim_start_matches('\u{feff}');
    let is_json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl"));
    let subject = subject_of(path);
    let questions = if is_json { of_json(text, &subject) } else { of_csv(text, &subject) }?;
    if questions.is_empty() {
        bail!("there is no question in it");
    }
    Ok(questions)
}

/// Returns the subject that a file of MMLU is named after.
fn subject_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let subject = SPLITS.iter().find_map(|end| stem.strip_suffix(end));
    subject.unwrap_or_default().replace('_', " ")
}

fn of_json(text: &str, subject: &str) -> Result<Vec<Question>> {
    let question = |(line, text): (usize, &str)| -> Result<Question> {
        let place = || format!("line {}", line + 1);
        let JsonQuestion { subject: own, question, choices, answer } =
            serde_json::from_str(text).with_context(place)?;
        let answer = match answer {
            JsonAnswer::Index(index) => Some(index).filter(|&index| index < LETTERS.len()),
            JsonAnswer::Letter(letter) => index_of(&letter),
        };
        let answer =
            answer.context("expected an answer of A to D, or 0 to 3").with_context(place)?;
        let subject = own.map_or_else(|| subject.to_owned(), |own| own.replace('_', " "));
        Ok(Question { subject, text: question, choices, answer })
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(question).collect()
}

fn of_csv(text: &str, subject: &str) -> Result<Vec<Question>> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let question = |row: csv::Result<csv::StringRecord>| -> Result<Question> {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let place = || format!("line {line}");
        let fields: Vec<&str> = row.iter().collect();
        let &[text, a, b, c, d, answer] = &fields[..] else {
            let expected = "expected question, four choices and a letter";
            bail!("{}: {} fields, {expected}", place(), fields.len());
        };
        let answer =
            index_of(answer).context("expected an answer of A to D").with_context(place)?;
        let choices = [a, b, c, d].map(str::to_owned);
        Ok(Question { subject: subject.to_owned(), text: text.to_owned(), choices, answer })
    };
    let questions = reader.records().map(question).collect();
    // The reader takes the end of the file for the end of the quote.
    match open_quote(text) {
        Some(line) => bail!("line {line}: a quote begins there and does not end"),
        None => questions,
    }
}

/// Returns the line in which the quoted field begins that `text` ends in, if it does.
fn open_quote(text: &str) -> Option<usize> {
    enum Field {
        Begins,
        Plain,
        /// Begun in that line.
        Quoted(usize),
        /// By a quote: another one makes two of one.
        Ended(usize),
    }
    let (mut field, mut line) = (Field::Begins, 1);
    for byte in text.bytes() {
        field = match (byte, field) {
            (b'"', Field::Begins) => Field::Quoted(line),
            (b'"', Field::Ended(begun)) => Field::Quoted(begun),
            (b'"', Field::Quoted(begun)) => Field::Ended(begun),
            (_, Field::Quoted(begun)) => Field::Quoted(begun),
            (b',' | b'\n' | b'\r', _) => Field::Begins,
            _ => Field::Plain,
        };
        line += usize::from(byte == b'\n');
    }
    match field {
        Field::Quoted(begun) => Some(begun),
        _ => None,
    }
}

/// Returns the index of a choice's letter.
fn index_of(letter: &str) -> Option<usize> {
    LETTERS.iter().position(|known| known.eq_ignore_ascii_case(letter.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str =
        "What is 2 + 2?,3,4,5,\"6, or so\",B\n\"Which is \"\"red\"\"?\",sky,grass,blood,snow,c\n";

    #[test]
    fn prompts_are_those_of_the_harness() {
        let questions = of_csv(CSV, "abstract algebra").unwrap();
        let expected = "The following are multiple choice questions (with answers) about abstract algebra.\n\n\
            What is 2 + 2?\nA. 3\nB. 4\nC. 5\nD. 6, or so\nAnswer: B\n\n\
            Which is \"red\"?\nA. sky\nB. grass\nC. blood\nD. snow\nAnswer:";
        assert_eq!(prompt(&questions[1], &questions[..1]), expected);
        let choices = Choices { name: String::new(), questions, examples: Vec::new() };
        let texts = choices.texts();
        assert_eq!(texts.len(), 8);
        assert!(texts[5].ends_with(b"D. snow\nAnswer: B"));
        assert_eq!(choices.correct(&[9.0, 1.0, 8.0, 7.0, 3.0, 3.0, 2.0, 3.0]), 2);
        assert_eq!(choices.correct(&[1.0, 9.0, 8.0, 7.0, 3.0, 3.0, 2.0, 3.0]), 1);
    }

    #[test]
    fn both_formats_have_the_same_questions() {
        let json = "{\"question\": \"What is 2 + 2?\", \"choices\": [\"3\", \"4\", \"5\", \"6, or so\"], \"answer\": 1}\n\n\
            {\"question\": \"Which is \\\"red\\\"?\", \"choices\": [\"sky\", \"grass\", \"blood\", \"snow\"], \"answer\": \"C\"}";
        assert_eq!(of_json(json, "x").unwrap(), of_csv(CSV, "x").unwrap());
        assert_eq!(subject_of(Path::new("a/high_school_physics_test.csv")), "high school physics");
        assert_eq!(subject_of(Path::new("my_questions.csv")), "");
    }

    #[test]
    fn what_is_no_question_is_named_by_its_line() {
        let error = |csv: &str| format!("{:#}", of_csv(csv, "").unwrap_err());
        assert_eq!(
            error("q,1,2,3,4,A\nq,1,2,3,A\n"),
            "line 2: 5 fields, expected question, four choices and a letter"
        );
        assert_eq!(error("question,a,b,c,d,answer\n"), "line 1: expected an answer of A to D");
        assert_eq!(
            error("q,1,2,3,4,A\n\"the \"\"last\"\"\nof all\",1,2,3,4,\"A\n"),
            "line 3: a quote begins there and does not end"
        );
        assert_eq!(
            error("q,1,2,3,4,A\n\"q,1,2,3,4,A\nq,1,2,3,4,A\n"),
            "line 2: a quote begins there and does not end"
        );
        let json =
            "{\"question\": \"q\", \"choices\": [\"1\", \"2\", \"3\", \"4\"], \"answer\": 4}";
        assert!(
            format!("{:#}", of_json(json, "").unwrap_err())
                .starts_with("line 1: expected an answer")
        );
    }
}
